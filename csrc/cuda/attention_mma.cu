#include <algorithm>

#include "cuda/attention.h"
#include "cuda/device/mma.cuh"

// Attention on tensor cores: FlashAttention-2 (Dao, 2023) on rows at arbitrary places, each with a range of
// keys of its own, so that queries of the training-time test, causal prefill, packed sequences and pictures
// are one kernel.

namespace eyas::cuda {

namespace {

constexpr int kNoKey = 0x7fffffff;

// Copies `count` rows of `width` elements from row `first` on to shared memory, zeros past the last one.
template <int kWidth, int kPitch, int kThreadsOfBlock>
__device__ __forceinline__ void LoadRows(uint16_t* to, const uint16_t* from, int first, int count, int rows) {
  constexpr int kChunks = kWidth / 8;
  for (int i = threadIdx.x; i < count * kChunks; i += kThreadsOfBlock) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool there = first + row < rows;
    const int64_t source = there ? static_cast<int64_t>(first + row) * kWidth + chunk * 8 : 0;
    CopyAsync16(to + row * kPitch + chunk * 8, from + source, there);
  }
}

// The keys that a row sees; none past the last row.
struct Range {
  int begin;
  int end;
};

__device__ __forceinline__ Range RangeOf(const AttentionShape& shape, const KeyRanges& ranges, int row) {
  if (row >= shape.rows()) return {0, 0};
  const int query = row / shape.group;
  return {ranges.begin[query], ranges.end[query]};
}

// The keys that any row of a tile sees, and those that all of its rows see.
struct TileRange {
  int begin;
  int end;
  int all_begin;
  int all_end;
};

// By all threads; `shared` has room for four.
__device__ __forceinline__ TileRange RangeOfTile(const AttentionShape& shape, const KeyRanges& ranges,
                                                 int first, int count, int* shared) {
  if (threadIdx.x == 0) {
    shared[0] = kNoKey;
    shared[1] = 0;
    shared[2] = 0;
    shared[3] = kNoKey;
  }
  __syncthreads();
  for (int r = threadIdx.x; r < count && first + r < shape.rows(); r += blockDim.x) {
    const Range range = RangeOf(shape, ranges, first + r);
    if (range.begin < range.end) {
      atomicMin(shared, range.begin);
      atomicMax(shared + 1, range.end);
    }
    atomicMax(shared + 2, range.begin);
    atomicMin(shared + 3, range.end);
  }
  __syncthreads();
  const TileRange tile{shared[0], shared[1], shared[2], shared[3]};
  __syncthreads();
  return tile;
}

// ---- forward

template <int kWidth>
struct ForwardTile {
  static constexpr int kRows = kWidth <= 128 ? 128 : 64;
  static constexpr int kKeys = 64;
  static constexpr int kPitch = kWidth + 8;
  static constexpr int kThreads = kRows / 16 * kWarpLanes;
  // Queries; keys and values twice: the next ones arrive while these are multiplied.
  static constexpr size_t kSharedBytes = (kRows + 4 * kKeys) * kPitch * sizeof(uint16_t);
  // The queries' fragments stay in registers where there are enough.
  static constexpr bool kKeepQueries = kWidth <= 128;
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

template <int kWidth>
__global__ void __launch_bounds__(ForwardTile<kWidth>::kThreads)
    MmaForwardKernel(AttentionShape shape, KeyRanges ranges, PackedHeads q, PackedHeads k, PackedHeads v,
                     PartialAttention out) {
  using Tile = ForwardTile<kWidth>;
  constexpr int kPitch = Tile::kPitch, kKeys = Tile::kKeys, kSteps = kWidth / 16;
  EYAS_DYNAMIC_SHARED(uint16_t, shared);
  uint16_t* q_tile = shared;
  uint16_t* k_tiles = q_tile + Tile::kRows * kPitch;
  uint16_t* v_tiles = k_tiles + 2 * kKeys * kPitch;
  __shared__ int bounds[4];
  // Causal tiles at the end are the longest: they come first.
  const int tile = gridDim.x - 1 - blockIdx.x, kv_head = blockIdx.y, split = blockIdx.z;
  const int rows = shape.rows(), first_row = tile * Tile::kRows;
  const int warp = threadIdx.x / kWarpLanes, lane = threadIdx.x % kWarpLanes, g = lane / 4, t = lane % 4;
  const TileRange tile_range = RangeOfTile(shape, ranges, first_row, Tile::kRows, bounds);
  const int blocks =
      tile_range.begin >= tile_range.end ? 0 : (tile_range.end - tile_range.begin + kKeys - 1) / kKeys;
  const KeyBlocks part = BlocksOf(out, split, {0, blocks});
  const int first_block = part.first, last_block = part.last;

  const uint16_t* queries = q.data + static_cast<int64_t>(kv_head) * q.rows * kWidth;
  const uint16_t* keys = k.data + static_cast<int64_t>(kv_head) * k.rows * kWidth;
  const uint16_t* values = v.data + static_cast<int64_t>(kv_head) * v.rows * kWidth;
  const auto load_keys = [&](uint16_t* tiles, const uint16_t* from, int block) {
    if (block < last_block) {
      LoadRows<kWidth, kPitch, Tile::kThreads>(tiles + block % 2 * kKeys * kPitch, from,
                                               tile_range.begin + block * kKeys, kKeys, tile_range.end);
    }
    CommitCopies();
  };

  float sums[kWidth / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  const int own_row = first_row + warp * 16 + g;
  const Range own[2] = {RangeOf(shape, ranges, own_row), RangeOf(shape, ranges, own_row + 8)};
  FragmentA q_fragments[Tile::kKeepQueries ? kSteps : 1];

  if (first_block < last_block) {
    LoadRows<kWidth, kPitch, Tile::kThreads>(q_tile, queries, first_row, Tile::kRows, q.rows);
    load_keys(k_tiles, keys, first_block);  // one group with the queries
    load_keys(v_tiles, values, first_block);
  }
  for (int block = first_block; block < last_block; ++block) {
    const uint16_t* k_tile = k_tiles + block % 2 * kKeys * kPitch;
    const uint16_t* v_tile = v_tiles + block % 2 * kKeys * kPitch;
    // All but the values, which may still be on their way.
    WaitCopies<1>();
    __syncthreads();
    load_keys(k_tiles, keys, block + 1);
    if (Tile::kKeepQueries && block == first_block) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        q_fragments[Tile::kKeepQueries ? step : 0] = LoadA(q_tile, kPitch, warp * 16, step * 16);
      }
    }
    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const FragmentA a = Tile::kKeepQueries ? q_fragments[Tile::kKeepQueries ? step : 0]
                                             : LoadA(q_tile, kPitch, warp * 16, step * 16);
#pragma unroll
      for (int j = 0; j < kKeys; j += 16) {
        FragmentB b[2];
        LoadB(k_tile, kPitch, j, step * 16, b);
        Mma(scores[j / 8], a, b[0]);
        Mma(scores[j / 8 + 1], a, b[1]);
      }
    }

    const int first_key = tile_range.begin + block * kKeys;
    if (first_key < tile_range.all_begin || first_key + kKeys > tile_range.all_end) {
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + j * 8 + 2 * t + i % 2;
          if (key < own[i / 2].begin || key >= own[i / 2].end) scores[j][i] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
        top = fmaxf(top, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
      const float before = largest[half], now = fmaxf(before, QuadMax(top));
      // No key yet: 2^(−∞ − 0) is the 0 that is wanted.
      const float reference = now == -INFINITY ? 0.0f : now;
      const float factor = exp2f(before - reference);
      largest[half] = now;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float p = exp2f(scores[j][2 * half + i] - reference);
          scores[j][2 * half + i] = p;
          sum += p;
        }
      }
      total[half] = total[half] * factor + sum;
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        sums[c][2 * half] *= factor;
        sums[c][2 * half + 1] *= factor;
      }
    }

    WaitCopies<1>();
    __syncthreads();
    load_keys(v_tiles, values, block + 1);
#pragma unroll
    for (int j = 0; j < kKeys; j += 16) {
      const FragmentA p = AsLeft(scores[j / 8], scores[j / 8 + 1]);
#pragma unroll
      for (int c = 0; c < kWidth; c += 16) {
        FragmentB b[2];
        LoadBTransposed(v_tile, kPitch, c, j, b);
        Mma(sums[c / 8], p, b[0]);
        Mma(sums[c / 8 + 1], p, b[1]);
      }
    }
  }
  WaitCopies<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = own_row + 8 * half;
    const float sum = QuadSum(total[half]);
    if (row >= rows) continue;
    const int64_t at = (static_cast<int64_t>(split) * shape.kv_heads + kv_head) * rows + row;
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    float* to = out.out + at * shape.head_dim;
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int feature = c * 8 + 2 * t + i;
        if (feature < shape.head_dim) to[feature] = sums[c][2 * half + i] * inverse;
      }
    }
    if (t == 0) out.lse[at] = largest[half] + log2f(sum);
  }
}

// ---- backward

template <int kWidth>
struct BackwardTile {
  static constexpr int kRows = 64;
  static constexpr int kKeys = kWidth <= 128 ? 128 : 64;
  static constexpr int kPitch = kWidth + 8;
  static constexpr int kScorePitch = kKeys + 8;
  static constexpr int kThreads = 8 * kWarpLanes;
  // Keys and values; queries and dout twice; probabilities and the gradients of the scores.
  static constexpr size_t kSharedBytes =
      ((2 * kKeys + 4 * kRows) * kPitch + 2 * kRows * kScorePitch) * sizeof(uint16_t);
  // In products for the keys' gradients a warp has 16 keys, and, where there are fewer than warps, a part of
  // the features.
  static constexpr int kKeyWarps = kKeys / 16;
  static constexpr int kFeatures = kWidth / (8 / kKeyWarps);
  // In that for the queries' gradient four warps share the rows, two the features, 16 of them at a time.
  static constexpr int kSlices = kWidth / 16;
  static constexpr int kSlicesOfHalf = (kSlices + 1) / 2;
};

__global__ void TileRangesKernel(AttentionShape shape, KeyRanges ranges, int tile_rows, int2* tiles) {
  __shared__ int bounds[4];
  const TileRange range = RangeOfTile(shape, ranges, blockIdx.x * tile_rows, tile_rows, bounds);
  if (threadIdx.x == 0) {
    tiles[blockIdx.x].x = range.begin;
    tiles[blockIdx.x].y = range.end;
  }
}

// A block has the gradients of its keys and goes through the tiles of rows that see any of them; what it
// finds for the rows is added in memory, by all blocks in any order.
template <int kWidth>
__global__ void __launch_bounds__(BackwardTile<kWidth>::kThreads, 1)
    MmaBackwardKernel(AttentionShape shape, KeyRanges ranges, const int2* tiles, int tile_count,
                      PackedHeads q, PackedHeads k, PackedHeads v, PackedHeads dout, const float* lse,
                      const float* delta, float* dq, float* dk, float* dv) {
  using Tile = BackwardTile<kWidth>;
  constexpr int kPitch = Tile::kPitch, kScorePitch = Tile::kScorePitch, kRows = Tile::kRows,
                kKeys = Tile::kKeys;
  constexpr int kHalfKeys = kKeys / 2;
  EYAS_DYNAMIC_SHARED(uint16_t, shared);
  uint16_t* k_tile = shared;
  uint16_t* v_tile = k_tile + kKeys * kPitch;
  uint16_t* q_tiles = v_tile + kKeys * kPitch;
  uint16_t* dout_tiles = q_tiles + 2 * kRows * kPitch;
  uint16_t* p_tile = dout_tiles + 2 * kRows * kPitch;
  uint16_t* ds_tile = p_tile + kRows * kScorePitch;
  const int first_key = blockIdx.x * kKeys, kv_head = blockIdx.y, rows = shape.rows();
  const int warp = threadIdx.x / kWarpLanes, lane = threadIdx.x % kWarpLanes, g = lane / 4, t = lane % 4;
  const uint16_t* queries = q.data + static_cast<int64_t>(kv_head) * q.rows * kWidth;
  const uint16_t* gradients = dout.data + static_cast<int64_t>(kv_head) * dout.rows * kWidth;
  lse += static_cast<int64_t>(kv_head) * rows;
  delta += static_cast<int64_t>(kv_head) * rows;

  // The next tile from `tile` on whose rows see any of the keys.
  const auto next_tile = [&](int tile) {
    while (tile < tile_count && (tiles[tile].x >= first_key + kKeys || tiles[tile].y <= first_key)) ++tile;
    return tile;
  };
  const auto load_rows = [&](int tile, int buffer) {
    if (tile < tile_count) {
      LoadRows<kWidth, kPitch, Tile::kThreads>(q_tiles + buffer * kRows * kPitch, queries, tile * kRows,
                                               kRows, q.rows);
      LoadRows<kWidth, kPitch, Tile::kThreads>(dout_tiles + buffer * kRows * kPitch, gradients, tile * kRows,
                                               kRows, dout.rows);
    }
    CommitCopies();
  };

  float dk_sums[Tile::kFeatures / 8][4] = {}, dv_sums[Tile::kFeatures / 8][4] = {};
  const int key_of_warp = warp % Tile::kKeyWarps * 16;
  const int feature_of_warp = warp / Tile::kKeyWarps * Tile::kFeatures;

  int tile = next_tile(0), buffer = 0;
  if (tile < tile_count) {
    const int64_t of_head = static_cast<int64_t>(kv_head) * k.rows * kWidth;
    LoadRows<kWidth, kPitch, Tile::kThreads>(k_tile, k.data + of_head, first_key, kKeys, k.rows);
    LoadRows<kWidth, kPitch, Tile::kThreads>(v_tile, v.data + of_head, first_key, kKeys, v.rows);
  }
  load_rows(tile, buffer);  // one group with keys and values
  while (tile < tile_count) {
    WaitCopies<0>();
    __syncthreads();
    const int next = next_tile(tile + 1);
    load_rows(next, 1 - buffer);
    const uint16_t* q_tile = q_tiles + buffer * kRows * kPitch;
    const uint16_t* dout_tile = dout_tiles + buffer * kRows * kPitch;

    // Scores and dout·v of 16 rows and half of the keys.
    const int row_of_warp = warp % 4 * 16, half = warp / 4 * kHalfKeys;
    {
      float scores[kHalfKeys / 8][4] = {}, dp[kHalfKeys / 8][4] = {};
#pragma unroll
      for (int step = 0; step < kWidth; step += 16) {
        const FragmentA a = LoadA(q_tile, kPitch, row_of_warp, step);
        const FragmentA up = LoadA(dout_tile, kPitch, row_of_warp, step);
#pragma unroll
        for (int j = 0; j < kHalfKeys; j += 16) {
          FragmentB b[2];
          LoadB(k_tile, kPitch, half + j, step, b);
          Mma(scores[j / 8], a, b[0]);
          Mma(scores[j / 8 + 1], a, b[1]);
          LoadB(v_tile, kPitch, half + j, step, b);
          Mma(dp[j / 8], up, b[0]);
          Mma(dp[j / 8 + 1], up, b[1]);
        }
      }
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int row_in_tile = row_of_warp + g + 8 * part, row = tile * kRows + row_in_tile;
        const Range range = RangeOf(shape, ranges, row);
        const float row_lse = row < rows ? lse[row] : 0.0f, row_delta = row < rows ? delta[row] : 0.0f;
        uint32_t* p_words = reinterpret_cast<uint32_t*>(p_tile + row_in_tile * kScorePitch + half);
        uint32_t* ds_words = reinterpret_cast<uint32_t*>(ds_tile + row_in_tile * kScorePitch + half);
#pragma unroll
        for (int j = 0; j < kHalfKeys / 8; ++j) {
          float p[2], ds[2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int key = first_key + half + j * 8 + 2 * t + i;
            const bool seen = key >= range.begin && key < range.end;
            p[i] = seen ? exp2f(scores[j][2 * part + i] - row_lse) : 0.0f;
            ds[i] = seen ? p[i] * (dp[j][2 * part + i] - row_delta) : 0.0f;
          }
          p_words[j * 4 + t] = PackBf16(p[0], p[1]);
          ds_words[j * 4 + t] = PackBf16(ds[0], ds[1]);
        }
      }
    }
    __syncthreads();

#pragma unroll
    for (int step = 0; step < kRows; step += 16) {
      const FragmentA p = LoadATransposed(p_tile, kScorePitch, key_of_warp, step);
      const FragmentA ds = LoadATransposed(ds_tile, kScorePitch, key_of_warp, step);
#pragma unroll
      for (int c = 0; c < Tile::kFeatures; c += 16) {
        FragmentB b[2];
        LoadBTransposed(dout_tile, kPitch, feature_of_warp + c, step, b);
        Mma(dv_sums[c / 8], p, b[0]);
        Mma(dv_sums[c / 8 + 1], p, b[1]);
        LoadBTransposed(q_tile, kPitch, feature_of_warp + c, step, b);
        Mma(dk_sums[c / 8], ds, b[0]);
        Mma(dk_sums[c / 8 + 1], ds, b[1]);
      }
    }

    {
      float dq_sums[2 * Tile::kSlicesOfHalf][4] = {};
      const int first_slice = warp / 4 * Tile::kSlicesOfHalf;
#pragma unroll
      for (int step = 0; step < kKeys; step += 16) {
        const FragmentA ds = LoadA(ds_tile, kScorePitch, row_of_warp, step);
#pragma unroll
        for (int slice = 0; slice < Tile::kSlicesOfHalf; ++slice) {
          if (first_slice + slice >= Tile::kSlices) continue;
          FragmentB b[2];
          LoadBTransposed(k_tile, kPitch, (first_slice + slice) * 16, step, b);
          Mma(dq_sums[2 * slice], ds, b[0]);
          Mma(dq_sums[2 * slice + 1], ds, b[1]);
        }
      }
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int row = tile * kRows + row_of_warp + g + 8 * part;
        if (row >= rows) continue;
        const int64_t head = static_cast<int64_t>(kv_head) * shape.group + row % shape.group;
        float* to = dq + (static_cast<int64_t>(row / shape.group) * shape.heads + head) * shape.head_dim;
#pragma unroll
        for (int c = 0; c < 2 * Tile::kSlicesOfHalf; ++c) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int feature = first_slice * 16 + c * 8 + 2 * t + i;
            if (feature < shape.head_dim) atomicAdd(to + feature, dq_sums[c][2 * part + i] * shape.scale);
          }
        }
      }
    }
    tile = next;
    buffer = 1 - buffer;
  }
  WaitCopies<0>();

#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const int key = first_key + key_of_warp + g + 8 * part;
    if (key >= shape.m) continue;
    const int64_t at = (static_cast<int64_t>(key) * shape.kv_heads + kv_head) * shape.head_dim;
#pragma unroll
    for (int c = 0; c < Tile::kFeatures / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int feature = feature_of_warp + c * 8 + 2 * t + i;
        if (feature >= shape.head_dim) continue;
        // The queries are scaled for powers of two.
        dk[at + feature] = dk_sums[c][2 * part + i] * kLn2;
        dv[at + feature] = dv_sums[c][2 * part + i];
      }
    }
  }
}

// Calls body with the width as a constant.
template <typename Body>
void WithWidth(int width, const Body& body) {
  switch (width) {
    case 64:
      return body(std::integral_constant<int, 64>());
    case 80:
      return body(std::integral_constant<int, 80>());
    case 96:
      return body(std::integral_constant<int, 96>());
    case 128:
      return body(std::integral_constant<int, 128>());
    default:
      return body(std::integral_constant<int, 256>());
  }
}

}  // namespace

PartialAttention MmaSplits(const AttentionShape& shape, int width) {
  const int64_t tile_rows = width <= 128 ? ForwardTile<128>::kRows : ForwardTile<256>::kRows;
  const int64_t blocks = CeilDiv(shape.rows(), tile_rows) * shape.kv_heads;
  const int64_t wanted = CeilDiv(Runtime::Get().multiprocessors(), blocks);
  // A part of less than two blocks of keys is not worth a block of threads.
  const int64_t most = std::clamp<int64_t>(shape.m / (2 * ForwardTile<128>::kKeys), 1, 64);
  return {nullptr, nullptr, static_cast<int>(std::min(wanted, most)), 0};
}

void MmaForward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                const PackedHeads& k, const PackedHeads& v, const PartialAttention& out) {
  WithWidth(q.width, [&](auto width) {
    using Tile = ForwardTile<decltype(width)::value>;
    const dim3 grid(static_cast<unsigned>(CeilDiv(shape.rows(), Tile::kRows)),
                    static_cast<unsigned>(shape.kv_heads), static_cast<unsigned>(out.splits));
    Launch({grid, dim3(Tile::kThreads), Tile::kSharedBytes}, MmaForwardKernel<decltype(width)::value>, shape,
           ranges, q, k, v, out);
  });
}

void MmaBackward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                 const PackedHeads& k, const PackedHeads& v, const PackedHeads& dout, const float* lse,
                 const float* delta, float* dq, float* dk, float* dv) {
  WithWidth(q.width, [&](auto width) {
    using Tile = BackwardTile<decltype(width)::value>;
    const int tile_count = static_cast<int>(CeilDiv(shape.rows(), Tile::kRows));
    const Scratch tiles(tile_count * sizeof(int2));
    Launch({dim3(static_cast<unsigned>(tile_count)), dim3(Tile::kRows)}, TileRangesKernel, shape, ranges,
           Tile::kRows, tiles.As<int2>());
    const dim3 grid(static_cast<unsigned>(CeilDiv(shape.m, Tile::kKeys)),
                    static_cast<unsigned>(shape.kv_heads));
    Launch({grid, dim3(Tile::kThreads), Tile::kSharedBytes}, MmaBackwardKernel<decltype(width)::value>, shape,
           ranges, tiles.As<int2>(), tile_count, q, k, v, dout, lse, delta, dq, dk, dv);
  });
}

}  // namespace eyas::cuda
