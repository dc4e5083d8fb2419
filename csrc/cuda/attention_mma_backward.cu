#include <algorithm>
#include <type_traits>

#include "cuda/device/attention_tile.cuh"

// The backward pass of attention_mma_forward.cu: a block has some keys and goes over the rows that see them.

namespace eyas::cuda {

namespace {

template <int kWidthOf, int kKeysOf, int kStagesOf>
struct BackwardTile {
  static constexpr int kWidth = kWidthOf;
  static constexpr int kKeys = kKeysOf;
  // Two: the next rows arrive while these are multiplied. One: while only their gradient is left to do.
  static constexpr int kStages = kStagesOf;
  static constexpr int kRows = 64;
  static constexpr int kPitch = kWidth + 8;
  static constexpr int kScorePitch = kKeys + 8;
  static constexpr int kWarps = 8;
  static constexpr int kThreads = kWarps * kWarpLanes;
  // Keys and values; queries and dout; probabilities and the gradients of the scores; facts of the rows.
  static constexpr size_t kSharedBytes =
      ((2 * kKeys + 2 * kStages * kRows) * kPitch + 2 * kRows * kScorePitch) * sizeof(uint16_t) +
      kStages * kRows * sizeof(RowFacts);
  // Of 16 rows or keys, in a warp's part of a product: two share the right fragments, where the features can
  // be split among more warps for it.
  static constexpr int kStrips = kWidth % 64 == 0 ? 2 : 1;
  // Scores are split by rows and keys, the keys' gradients by keys and slices of 16 features, the queries'
  // gradient by rows and slices.
  static constexpr int kRowWarps = kRows / (16 * kStrips);
  static constexpr int kKeyWarps = kKeys / (16 * kStrips);
  static constexpr int kScoreKeys = kKeys / (kWarps / kRowWarps);
  static constexpr int kSlices = kWidth / 16;
  static constexpr int kKeySlices = static_cast<int>(CeilDiv(kSlices, kWarps / kKeyWarps));
  static constexpr int kRowSlices = static_cast<int>(CeilDiv(kSlices, kWarps / kRowWarps));
};

// The keys that any row of a tile sees, and those that all see: x ≤ key < y and z ≤ key < w.
__global__ void TileRangesKernel(AttentionShape shape, KeyRanges ranges, int tile_rows, int4* tiles) {
  __shared__ int bounds[4];
  const TileRange range = RangeOfTile(shape, ranges, blockIdx.x * tile_rows, tile_rows, bounds);
  if (threadIdx.x == 0) tiles[blockIdx.x] = {range.begin, range.end, range.all_begin, range.all_end};
}

// dk and dv [splits, m, kv_heads, head_dim]: of a part of the tiles of rows each.
struct KeyGradients {
  float* dk;
  float* dv;
  int splits;
  // Of several parts: whether a part has anything for a block of keys, [splits, blocks].
  int* used;
};

// A block has the gradients of its keys and goes through those tiles of rows of its part that see any of
// them; what it finds for the rows is added in memory, by all blocks in any order.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    MmaBackwardKernel(AttentionShape shape, const RowFacts* facts, const int4* tiles, int tile_count,
                      PackedHeads q, PackedHeads k, PackedHeads v, PackedHeads dout, float* dq,
                      KeyGradients gradients) {
  constexpr int kWidth = Tile::kWidth, kPitch = Tile::kPitch, kScorePitch = Tile::kScorePitch,
                kRows = Tile::kRows, kKeys = Tile::kKeys, kStrips = Tile::kStrips,
                kScoreKeys = Tile::kScoreKeys, kSlices = Tile::kSlices;
  EYAS_DYNAMIC_SHARED(uint16_t, shared);
  uint16_t* k_tile = shared;
  uint16_t* v_tile = k_tile + kKeys * kPitch;
  uint16_t* q_tiles = v_tile + kKeys * kPitch;
  uint16_t* dout_tiles = q_tiles + Tile::kStages * kRows * kPitch;
  uint16_t* p_tile = dout_tiles + Tile::kStages * kRows * kPitch;
  uint16_t* ds_tile = p_tile + kRows * kScorePitch;
  auto* facts_tiles = reinterpret_cast<RowFacts*>(ds_tile + kRows * kScorePitch);
  // Late rows and early keys are the most work of causal ranges: they come first.
  const int kv_head = blockIdx.x, key_block = blockIdx.y, split = gridDim.z - 1 - blockIdx.z;
  const int first_key = key_block * kKeys, rows = shape.rows();
  const int warp = threadIdx.x / kWarpLanes, lane = threadIdx.x % kWarpLanes, g = lane / 4, t = lane % 4;
  const uint16_t* queries = q.data + static_cast<int64_t>(kv_head) * q.rows * kWidth;
  const uint16_t* up = dout.data + static_cast<int64_t>(kv_head) * dout.rows * kWidth;
  facts += static_cast<int64_t>(kv_head) * rows;
  const int tiles_of_part = (tile_count + gridDim.z - 1) / gridDim.z, first_tile = split * tiles_of_part;
  const int last_tile = min(first_tile + tiles_of_part, tile_count);

  // The next tile from `tile` on whose rows see any of the keys.
  const auto next_tile = [&](int tile) {
    while (tile < last_tile && (tiles[tile].x >= first_key + kKeys || tiles[tile].y <= first_key)) ++tile;
    return tile;
  };
  const auto load_rows = [&](int tile, int buffer) {
    if (tile < last_tile) {
      const int first = tile * kRows;
      LoadRows<kWidth, kPitch, Tile::kThreads>(q_tiles + buffer * kRows * kPitch, queries, first, kRows,
                                               rows);
      LoadRows<kWidth, kPitch, Tile::kThreads>(dout_tiles + buffer * kRows * kPitch, up, first, kRows, rows);
      if (threadIdx.x < kRows) {
        const int row = threadIdx.x;
        const bool there = first + row < rows;
        CopyAsync16(facts_tiles + buffer * kRows + row, facts + (there ? first + row : 0), there);
      }
    }
    CommitCopies();
  };

  int tile = next_tile(first_tile), buffer = 0;
  if (gradients.splits > 1) {
    const bool any = tile < last_tile;
    if (kv_head == 0 && threadIdx.x == 0) gradients.used[split * gridDim.y + key_block] = any;
    if (!any) return;
  }
  float dk_sums[kStrips][2 * Tile::kKeySlices][4] = {}, dv_sums[kStrips][2 * Tile::kKeySlices][4] = {};
  const int key_of_warp = warp % Tile::kKeyWarps * 16 * kStrips;
  const int key_slice = warp / Tile::kKeyWarps * Tile::kKeySlices;
  const int row_of_warp = warp % Tile::kRowWarps * 16 * kStrips;
  const int row_slice = warp / Tile::kRowWarps * Tile::kRowSlices;
  const int score_key = warp / Tile::kRowWarps * kScoreKeys;
  const bool dq_pairs = InPairs(dq, shape.head_dim);

  if (tile < last_tile) {
    const int64_t of_head = static_cast<int64_t>(kv_head) * k.rows * kWidth;
    LoadRows<kWidth, kPitch, Tile::kThreads>(k_tile, k.data + of_head, first_key, kKeys, k.rows);
    LoadRows<kWidth, kPitch, Tile::kThreads>(v_tile, v.data + of_head, first_key, kKeys, v.rows);
  }
  load_rows(tile, buffer);  // one group with keys and values
  while (tile < last_tile) {
    WaitCopies<0>();
    __syncthreads();
    const int next = next_tile(tile + 1);
    if (Tile::kStages == 2) load_rows(next, 1 - buffer);
    const uint16_t* q_tile = q_tiles + buffer * kRows * kPitch;
    const uint16_t* dout_tile = dout_tiles + buffer * kRows * kPitch;
    const RowFacts* facts_tile = facts_tiles + buffer * kRows;

    // Scores and dout·v of the warp's rows and keys.
    {
      float scores[kStrips][kScoreKeys / 8][4] = {}, dp[kStrips][kScoreKeys / 8][4] = {};
#pragma unroll
      for (int step = 0; step < kWidth; step += 16) {
        FragmentA of_q[kStrips], of_dout[kStrips];
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          of_q[strip] = LoadA(q_tile, kPitch, row_of_warp + 16 * strip, step);
          of_dout[strip] = LoadA(dout_tile, kPitch, row_of_warp + 16 * strip, step);
        }
#pragma unroll
        for (int j = 0; j < kScoreKeys; j += 16) {
          FragmentB b[2];
          LoadB(k_tile, kPitch, score_key + j, step, b);
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip) {
            Mma(scores[strip][j / 8], of_q[strip], b[0]);
            Mma(scores[strip][j / 8 + 1], of_q[strip], b[1]);
          }
          LoadB(v_tile, kPitch, score_key + j, step, b);
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip) {
            Mma(dp[strip][j / 8], of_dout[strip], b[0]);
            Mma(dp[strip][j / 8 + 1], of_dout[strip], b[1]);
          }
        }
      }
      const auto store = [&](auto masked) {
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = row_of_warp + 16 * strip + 8 * half + g;
            const RowFacts of_row = facts_tile[row];
            auto* p_words = reinterpret_cast<uint32_t*>(p_tile + row * kScorePitch + score_key);
            auto* ds_words = reinterpret_cast<uint32_t*>(ds_tile + row * kScorePitch + score_key);
#pragma unroll
            for (int j = 0; j < kScoreKeys / 8; ++j) {
              float p[2], ds[2];
#pragma unroll
              for (int i = 0; i < 2; ++i) {
                p[i] = Exp2(scores[strip][j][2 * half + i] - of_row.lse);
                ds[i] = p[i] * (dp[strip][j][2 * half + i] - of_row.delta);
                if (decltype(masked)::value) {
                  const int key = first_key + score_key + j * 8 + 2 * t + i;
                  const bool seen = key >= of_row.begin && key < of_row.end;
                  p[i] = seen ? p[i] : 0.0f;
                  ds[i] = seen ? ds[i] : 0.0f;
                }
              }
              p_words[j * 4 + t] = PackBf16(p[0], p[1]);
              ds_words[j * 4 + t] = PackBf16(ds[0], ds[1]);
            }
          }
        }
      };
      // Rows past the last one have zeros for features: what they would see adds nothing.
      if (first_key >= tiles[tile].z && first_key + kKeys <= tiles[tile].w) {
        store(std::false_type());
      } else {
        store(std::true_type());
      }
    }
    __syncthreads();

#pragma unroll
    for (int step = 0; step < kRows; step += 16) {
      FragmentA p[kStrips], ds[kStrips];
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        p[strip] = LoadATransposed(p_tile, kScorePitch, key_of_warp + 16 * strip, step);
        ds[strip] = LoadATransposed(ds_tile, kScorePitch, key_of_warp + 16 * strip, step);
      }
#pragma unroll
      for (int slice = 0; slice < Tile::kKeySlices; ++slice) {
        if (key_slice + slice >= kSlices) continue;
        FragmentB b[2];
        LoadBTransposed(dout_tile, kPitch, (key_slice + slice) * 16, step, b);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Mma(dv_sums[strip][2 * slice], p[strip], b[0]);
          Mma(dv_sums[strip][2 * slice + 1], p[strip], b[1]);
        }
        LoadBTransposed(q_tile, kPitch, (key_slice + slice) * 16, step, b);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Mma(dk_sums[strip][2 * slice], ds[strip], b[0]);
          Mma(dk_sums[strip][2 * slice + 1], ds[strip], b[1]);
        }
      }
    }
    if (Tile::kStages == 1) {
      // What follows reads none of the rows.
      __syncthreads();
      load_rows(next, 0);
    }

    {
      float dq_sums[kStrips][2 * Tile::kRowSlices][4] = {};
#pragma unroll
      for (int step = 0; step < kKeys; step += 16) {
        FragmentA ds[kStrips];
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip)
          ds[strip] = LoadA(ds_tile, kScorePitch, row_of_warp + 16 * strip, step);
#pragma unroll
        for (int slice = 0; slice < Tile::kRowSlices; ++slice) {
          if (row_slice + slice >= kSlices) continue;
          FragmentB b[2];
          LoadBTransposed(k_tile, kPitch, (row_slice + slice) * 16, step, b);
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip) {
            Mma(dq_sums[strip][2 * slice], ds[strip], b[0]);
            Mma(dq_sums[strip][2 * slice + 1], ds[strip], b[1]);
          }
        }
      }
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = tile * kRows + row_of_warp + 16 * strip + 8 * half + g;
          if (row >= rows) continue;
          const int64_t head = static_cast<int64_t>(kv_head) * shape.group + row % shape.group;
          float* to = dq + (static_cast<int64_t>(row / shape.group) * shape.heads + head) * shape.head_dim;
#pragma unroll
          for (int c = 0; c < 2 * Tile::kRowSlices; ++c) {
            const float* of_pair = dq_sums[strip][c] + 2 * half;
            AddPair(to, row_slice * 16 + c * 8 + 2 * t, of_pair[0] * shape.scale, of_pair[1] * shape.scale,
                    shape.head_dim, dq_pairs);
          }
        }
      }
    }
    tile = next;
    if (Tile::kStages == 2) buffer = 1 - buffer;
  }
  WaitCopies<0>();

  const int64_t split_rows = static_cast<int64_t>(shape.m) * shape.kv_heads;
  float* dk = gradients.dk + split * split_rows * shape.head_dim;
  float* dv = gradients.dv + split * split_rows * shape.head_dim;
  const bool dk_pairs = InPairs(gradients.dk, shape.head_dim),
             dv_pairs = InPairs(gradients.dv, shape.head_dim);
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int key = first_key + key_of_warp + 16 * strip + 8 * half + g;
      if (key >= shape.m) continue;
      const int64_t at = (static_cast<int64_t>(key) * shape.kv_heads + kv_head) * shape.head_dim;
#pragma unroll
      for (int c = 0; c < 2 * Tile::kKeySlices; ++c) {
        const int feature = key_slice * 16 + c * 8 + 2 * t;
        const float *of_key = dk_sums[strip][c] + 2 * half, *of_value = dv_sums[strip][c] + 2 * half;
        // The queries are scaled for powers of two.
        StorePair(dk + at, feature, of_key[0] * kLn2, of_key[1] * kLn2, shape.head_dim, dk_pairs);
        StorePair(dv + at, feature, of_value[0], of_value[1], shape.head_dim, dv_pairs);
      }
    }
  }
}

// The parts' sums, in their order; a block for each key, dk or dv.
__global__ void SumPartsKernel(KeyGradients parts, int keys_of_block, int features, float* dk, float* dv) {
  const int key = blockIdx.x, blocks = (gridDim.x + keys_of_block - 1) / keys_of_block;
  const float* from = blockIdx.y == 0 ? parts.dk : parts.dv;
  float* to = blockIdx.y == 0 ? dk : dv;
  for (int c = threadIdx.x; c < features; c += blockDim.x) {
    float sum = 0;
    for (int split = 0; split < parts.splits; ++split) {
      if (parts.used[split * blocks + key / keys_of_block] == 0) continue;
      sum += from[(static_cast<int64_t>(split) * gridDim.x + key) * features + c];
    }
    to[static_cast<int64_t>(key) * features + c] = sum;
  }
}

// Into how many parts the tiles of rows are split. Causal ranges are unequal work for blocks of keys: of long
// ones no part is much of what a multiprocessor has to do.
int RowSplits(int64_t blocks, int64_t tiles) {
  constexpr int64_t kManyTiles = 56, kPartsOfSlot = 4;
  const int64_t slots = Runtime::Get().multiprocessors();
  const int64_t uneven = std::min(CeilDiv(tiles, kManyTiles), CeilDiv(kPartsOfSlot * slots, blocks));
  return std::max(SharesFor(blocks, slots, tiles, tiles), static_cast<int>(uneven));
}

// Calls body with the first tile for which there is shared memory.
template <typename Tile, typename... Others, typename Body>
void WithFitting(int head_dim, const Body& body) {
  if constexpr (sizeof...(Others) > 0) {
    if (Tile::kSharedBytes > Runtime::Get().shared_of_block()) return WithFitting<Others...>(head_dim, body);
  }
  ExpectSharedMemory("attentionBackward", head_dim, Tile::kSharedBytes);
  body(Tile());
}

// The fastest first; those after it are for GPUs with 163 and 99 KiB for a block.
template <typename Body>
void WithBackwardTile(int width, int head_dim, const Body& body) {
  switch (width) {
    case 64:
      return WithFitting<BackwardTile<64, 128, 2>, BackwardTile<64, 128, 1>>(head_dim, body);
    case 80:
      return WithFitting<BackwardTile<80, 128, 2>, BackwardTile<80, 64, 2>>(head_dim, body);
    case 96:
      return WithFitting<BackwardTile<96, 128, 2>, BackwardTile<96, 64, 2>>(head_dim, body);
    case 128:
      return WithFitting<BackwardTile<128, 128, 2>, BackwardTile<128, 128, 1>, BackwardTile<128, 64, 1>>(
          head_dim, body);
    default:
      return WithFitting<BackwardTile<256, 64, 2>, BackwardTile<256, 64, 1>>(head_dim, body);
  }
}

}  // namespace

void MmaBackward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                 const PackedHeads& k, const PackedHeads& v, const PackedHeads& dout, const RowFacts* facts,
                 float* dq, float* dk, float* dv) {
  WithBackwardTile(q.width, shape.head_dim, [&](auto tile) {
    using Tile = decltype(tile);
    const int tile_count = static_cast<int>(CeilDiv(shape.rows(), Tile::kRows));
    const Scratch tiles(tile_count * sizeof(int4));
    Launch({dim3(static_cast<unsigned>(tile_count)), dim3(Tile::kRows)}, TileRangesKernel, shape, ranges,
           Tile::kRows, tiles.As<int4>());
    const int64_t key_blocks = CeilDiv(shape.m, Tile::kKeys);
    const int splits = RowSplits(key_blocks * shape.kv_heads, tile_count);
    const bool split = splits > 1;
    const int features = shape.kv_heads * shape.head_dim;
    const size_t count = split ? static_cast<size_t>(splits) * shape.m * features : 0;
    const Scratch parts(2 * count * sizeof(float)), used(split ? splits * key_blocks * sizeof(int) : 0);
    const KeyGradients gradients{split ? parts.As<float>() : dk, split ? parts.As<float>() + count : dv,
                                 splits, used.As<int>()};
    const dim3 grid(static_cast<unsigned>(shape.kv_heads), static_cast<unsigned>(key_blocks),
                    static_cast<unsigned>(splits));
    Launch({grid, dim3(Tile::kThreads), Tile::kSharedBytes}, MmaBackwardKernel<Tile>, shape, facts,
           tiles.As<int4>(), tile_count, q, k, v, dout, dq, gradients);
    if (split) {
      Launch({dim3(static_cast<unsigned>(shape.m), 2), dim3(kThreads)}, SumPartsKernel, gradients,
             Tile::kKeys, features, dk, dv);
    }
  });
}

}  // namespace eyas::cuda
