#include <algorithm>

#include "cuda/device/attention_tile.cuh"

// Attention on tensor cores: FlashAttention-2 (Dao, 2023) on rows at arbitrary places, each with a range of
// keys of its own, so that queries of the training-time test, causal prefill, packed sequences and pictures
// are one kernel.

namespace eyas::cuda {

namespace {

template <int kWidthOf>
struct ForwardTile {
  static constexpr int kWidth = kWidthOf;
  static constexpr int kWarps = 4;
  static constexpr int kThreads = kWarps * kWarpLanes;
  // Of 16 rows, in a warp: they share the fragments of keys and values. The sums of two strips of wider heads
  // have no room in registers.
  static constexpr int kStrips = kWidth <= 128 ? 2 : 1;
  static constexpr int kRows = kWarps * kStrips * 16;
  static constexpr int kKeys = 64;
  static constexpr int kPitch = kWidth + 8;
  // Queries, keys and values: keys arrive while values are multiplied, values while keys are.
  static constexpr size_t kSharedBytes = (kRows + 2 * kKeys) * kPitch * sizeof(uint16_t);
  // Blocks of a multiprocessor, where it has the shared memory: one computes while the other waits.
  static constexpr int kResident = 2;
};

// Largest and sum over the four lanes that share a row of a fragment.
__device__ __forceinline__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float QuadSum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kResident)
    MmaForwardKernel(AttentionShape shape, KeyRanges ranges, PackedHeads q, PackedHeads k, PackedHeads v,
                     PartialAttention out) {
  constexpr int kWidth = Tile::kWidth, kPitch = Tile::kPitch, kKeys = Tile::kKeys, kStrips = Tile::kStrips;
  EYAS_DYNAMIC_SHARED(uint16_t, shared);
  uint16_t* q_tile = shared;
  uint16_t* k_tile = q_tile + Tile::kRows * kPitch;
  uint16_t* v_tile = k_tile + kKeys * kPitch;
  // Causal tiles at the end are the longest: they come first.
  const int tile = gridDim.x - 1 - blockIdx.x, kv_head = blockIdx.y, split = blockIdx.z;
  const int rows = shape.rows(), first_row = tile * Tile::kRows;
  const int warp = threadIdx.x / kWarpLanes, lane = threadIdx.x % kWarpLanes, g = lane / 4, t = lane % 4;
  const int row_of_warp = warp * kStrips * 16;
  // The bounds lie where the queries come later.
  const TileRange tile_range =
      RangeOfTile(shape, ranges, first_row, Tile::kRows, reinterpret_cast<int*>(shared));
  const int blocks =
      tile_range.begin >= tile_range.end ? 0 : (tile_range.end - tile_range.begin + kKeys - 1) / kKeys;
  const KeyBlocks part = BlocksOf(out, split, {0, blocks});

  const uint16_t* queries = q.data + static_cast<int64_t>(kv_head) * q.rows * kWidth;
  const uint16_t* keys = k.data + static_cast<int64_t>(kv_head) * k.rows * kWidth;
  const uint16_t* values = v.data + static_cast<int64_t>(kv_head) * v.rows * kWidth;
  const auto load_keys = [&](uint16_t* to, const uint16_t* from, int block) {
    if (block < part.last) {
      LoadRows<kWidth, kPitch, Tile::kThreads>(to, from, tile_range.begin + block * kKeys, kKeys,
                                               tile_range.end);
    }
    CommitCopies();
  };

  float sums[kStrips][kWidth / 8][4] = {};
  float largest[kStrips][2], total[kStrips][2];
  Range own[kStrips][2];
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[strip][half] = -INFINITY;
      total[strip][half] = 0;
      own[strip][half] = RangeOf(shape, ranges, first_row + row_of_warp + 16 * strip + 8 * half + g);
    }
  }

  if (part.first < part.last)
    LoadRows<kWidth, kPitch, Tile::kThreads>(q_tile, queries, first_row, Tile::kRows, q.rows);
  load_keys(k_tile, keys, part.first);  // one group with the queries
  for (int block = part.first; block < part.last; ++block) {
    WaitCopies<0>();
    __syncthreads();
    load_keys(v_tile, values, block);
    float scores[kStrips][kKeys / 8][4] = {};
#pragma unroll
    for (int step = 0; step < kWidth; step += 16) {
      FragmentA a[kStrips];
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip)
        a[strip] = LoadA(q_tile, kPitch, row_of_warp + 16 * strip, step);
#pragma unroll
      for (int j = 0; j < kKeys; j += 16) {
        FragmentB b[2];
        LoadB(k_tile, kPitch, j, step, b);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Mma(scores[strip][j / 8], a[strip], b[0]);
          Mma(scores[strip][j / 8 + 1], a[strip], b[1]);
        }
      }
    }

    const int first_key = tile_range.begin + block * kKeys;
    if (first_key < tile_range.all_begin || first_key + kKeys > tile_range.all_end) {
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int key = first_key + j * 8 + 2 * t + i % 2;
            const Range& range = own[strip][i / 2];
            if (key < range.begin || key >= range.end) scores[strip][j][i] = -INFINITY;
          }
        }
      }
    }
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = -INFINITY;
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
          top = fmaxf(top, fmaxf(scores[strip][j][2 * half], scores[strip][j][2 * half + 1]));
        const float before = largest[strip][half], now = fmaxf(before, QuadMax(top));
        // No key yet: 2^(−∞ − 0) is the 0 that is wanted.
        const float reference = now == -INFINITY ? 0.0f : now;
        const float factor = Exp2(before - reference);
        largest[strip][half] = now;
        float sum = 0;
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            const float p = Exp2(scores[strip][j][i] - reference);
            scores[strip][j][i] = p;
            sum += p;
          }
        }
        total[strip][half] = total[strip][half] * factor + sum;
#pragma unroll
        for (int c = 0; c < kWidth / 8; ++c) {
          sums[strip][c][2 * half] *= factor;
          sums[strip][c][2 * half + 1] *= factor;
        }
      }
    }

    WaitCopies<0>();
    __syncthreads();
    load_keys(k_tile, keys, block + 1);
#pragma unroll
    for (int j = 0; j < kKeys; j += 16) {
      FragmentA p[kStrips];
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip)
        p[strip] = AsLeft(scores[strip][j / 8], scores[strip][j / 8 + 1]);
#pragma unroll
      for (int c = 0; c < kWidth; c += 16) {
        FragmentB b[2];
        LoadBTransposed(v_tile, kPitch, c, j, b);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Mma(sums[strip][c / 8], p[strip], b[0]);
          Mma(sums[strip][c / 8 + 1], p[strip], b[1]);
        }
      }
    }
  }
  WaitCopies<0>();

  const bool pairs = InPairs(out.out, shape.head_dim);
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + row_of_warp + 16 * strip + 8 * half + g;
      const float sum = QuadSum(total[strip][half]), lse = largest[strip][half] + log2f(sum);
      if (row >= rows) continue;
      const int64_t at = out.complete ? static_cast<int64_t>(row / shape.group) * shape.heads +
                                            kv_head * shape.group + row % shape.group
                                      : (static_cast<int64_t>(split) * shape.kv_heads + kv_head) * rows + row;
      const float inverse = 1.0f / sum;
      float* to = out.out + at * shape.head_dim;
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        const float* of_pair = sums[strip][c] + 2 * half;
        // Without keys also where their values are no numbers.
        StorePair(to, c * 8 + 2 * t, sum == 0.0f ? 0.0f : of_pair[0] * inverse,
                  sum == 0.0f ? 0.0f : of_pair[1] * inverse, shape.head_dim, pairs);
      }
      if (t == 0) out.lse[at] = out.complete ? kLn2 * lse : lse;
    }
  }
}

// Calls body with the tile of the width.
template <typename Body>
void WithForwardTile(int width, const Body& body) {
  switch (width) {
    case 64:
      return body(ForwardTile<64>());
    case 80:
      return body(ForwardTile<80>());
    case 96:
      return body(ForwardTile<96>());
    case 128:
      return body(ForwardTile<128>());
    default:
      return body(ForwardTile<256>());
  }
}

}  // namespace

PartialAttention MmaSplits(const AttentionShape& shape, int width) {
  int splits = 1;
  WithForwardTile(width, [&](auto tile) {
    using Tile = decltype(tile);
    const int64_t blocks = CeilDiv(shape.rows(), Tile::kRows) * shape.kv_heads;
    // A block of threads takes a kilobyte of shared memory besides its own.
    const auto there =
        static_cast<int64_t>(Runtime::Get().shared_of_multiprocessor() / (Tile::kSharedBytes + 1024));
    const int64_t resident = std::clamp<int64_t>(there, 1, Tile::kResident);
    const int64_t steps = CeilDiv(shape.m, Tile::kKeys);
    splits =
        SharesFor(blocks, Runtime::Get().multiprocessors() * resident, steps, std::min<int64_t>(steps, 64));
  });
  return {nullptr, nullptr, splits, 0, false};
}

void MmaForward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                const PackedHeads& k, const PackedHeads& v, const PartialAttention& out) {
  WithForwardTile(q.width, [&](auto tile) {
    using Tile = decltype(tile);
    ExpectSharedMemory("attention", shape.head_dim, Tile::kSharedBytes);
    const dim3 grid(static_cast<unsigned>(CeilDiv(shape.rows(), Tile::kRows)),
                    static_cast<unsigned>(shape.kv_heads), static_cast<unsigned>(out.splits));
    Launch({grid, dim3(Tile::kThreads), Tile::kSharedBytes}, MmaForwardKernel<Tile>, shape, ranges, q, k, v,
           out);
  });
}

}  // namespace eyas::cuda
