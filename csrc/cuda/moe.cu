#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda/device/mma.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

// Mixture of experts. Which rows an expert has is found out and used on the device: nothing waits for a
// router. A pair is a row and one of its experts; sorted pairs have those of expert 0 first, each expert's by
// row.

namespace eyas::cuda {

namespace {

constexpr int kMostPerRow = 64;

// ---- routing

struct Choice {
  float value;
  int index;
};

// Comes before: the larger value, of equals the lower index.
__device__ __forceinline__ bool Before(Choice a, Choice b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

struct FirstOf {
  __device__ __forceinline__ Choice operator()(Choice a, Choice b) const { return Before(b, a) ? b : a; }
};

// A warp for each row: k times the first of those that come after the last one chosen.
__global__ void TopKKernel(Rows rows, const float* x, int k, bool normalize, int32_t* indices,
                           float* values) {
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (row >= rows.n) return;
  Choice last{INFINITY, -1};
  float sum = 0;
  for (int i = 0; i < k; ++i) {
    Choice best{-INFINITY, 0x7fffffff};
    for (int64_t j = lane; j < rows.h; j += kWarpLanes) {
      // NaN comes last, and is chosen where nothing else is left.
      const float value = x[row * rows.h + j];
      const Choice own{value == value ? value : -INFINITY, static_cast<int>(j)};
      if (Before(last, own) && Before(own, best)) best = own;
    }
    best = WarpReduce(best, FirstOf());
    last = best;
    const float value = x[row * rows.h + best.index];
    sum += value;
    if (lane == 0) {
      indices[row * k + i] = best.index;
      values[row * k + i] = value;
    }
  }
  if (!normalize) return;
  __syncwarp();
  for (int i = lane; i < k; i += kWarpLanes) values[row * k + i] /= sum;
}

// ---- sorting

// Rows of a tile of a grouped product.
constexpr int kTileRows = 64;

struct SortedPairs {
  int pairs;
  int per_row;
  int experts;
  int* counts;     // [experts]
  int* offsets;    // [experts + 1]: first sorted pair of each expert
  int* tiles;      // [experts + 1]: first tile of each expert
  int* sorted;     // [pairs]: pair at each place
  int* positions;  // [pairs]: place of each pair
};

// A block for each expert.
__global__ void CountPairsKernel(const int32_t* chosen, SortedPairs out) {
  __shared__ int shared[kWarpLanes + 1];
  int count = 0;
  for (int i = threadIdx.x; i < out.pairs; i += blockDim.x)
    count += chosen[i] == static_cast<int>(blockIdx.x);
  count = BlockReduce(count, SumOf(), shared);
  if (threadIdx.x == 0) out.counts[blockIdx.x] = count;
}

__global__ void OffsetsKernel(SortedPairs out) {
  int pairs = 0, tiles = 0;
  for (int e = 0; e < out.experts; ++e) {
    out.offsets[e] = pairs;
    out.tiles[e] = tiles;
    pairs += out.counts[e];
    tiles += (out.counts[e] + kTileRows - 1) / kTileRows;
  }
  out.offsets[out.experts] = pairs;
  out.tiles[out.experts] = tiles;
}

// A block for each expert goes through all pairs in order.
__global__ void PlacePairsKernel(const int32_t* chosen, SortedPairs out) {
  __shared__ int of_warp[kWarpLanes];
  const int lane = threadIdx.x % kWarpLanes, warp = threadIdx.x / kWarpLanes, warps = blockDim.x / kWarpLanes;
  int place = out.offsets[blockIdx.x];
  for (int first = 0; first < out.pairs; first += blockDim.x) {
    const int pair = first + threadIdx.x;
    const bool own = pair < out.pairs && chosen[pair] == static_cast<int>(blockIdx.x);
    const unsigned votes = __ballot_sync(kAllLanes, own);
    if (lane == 0) of_warp[warp] = __popc(votes);
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < warps; ++w) {
      if (w < warp) before += of_warp[w];
      all += of_warp[w];
    }
    if (own) {
      const int at = place + before + __popc(votes & ((1u << lane) - 1));
      out.sorted[at] = pair;
      out.positions[pair] = at;
    }
    place += all;
    __syncthreads();
  }
}

// ---- grouped products

// out [pairs, n] = x · weight[e]ᵀ for the sorted pairs of every expert e; weight [experts, n, k].
struct GroupedProblem {
  const void* x;
  bool gathered;  // row of x of a pair: pair / per_row where it is gathered, else its place
  const void* weight;
  float* out;
  int k;
  int n;
};

// Expert, first place and number of rows of a tile; no rows past the last tile.
struct GroupTile {
  int expert;
  int first;
  int count;
};

__device__ __forceinline__ GroupTile TileOf(const SortedPairs& pairs, int tile) {
  if (tile >= pairs.tiles[pairs.experts]) return {0, 0, 0};
  int low = 0, high = pairs.experts - 1;
  // The last expert whose first tile is not behind this one; experts without rows have no tile.
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (pairs.tiles[middle] <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int first = pairs.offsets[low] + (tile - pairs.tiles[low]) * kTileRows;
  return {low, first, min(kTileRows, pairs.offsets[low + 1] - first)};
}

__device__ __forceinline__ int64_t RowOf(const GroupedProblem& problem, const SortedPairs& pairs, int place) {
  return problem.gathered ? pairs.sorted[place] / pairs.per_row : place;
}

constexpr int kMmaColumns = 128;
constexpr int kMmaDepth = 32;
constexpr int kMmaPitch = kMmaDepth + 8;
constexpr int kMmaThreads = 128;

// bfloat16 on tensor cores; k is a multiple of 8. Four warps share a tile of 64 rows by 128 columns.
__global__ void __launch_bounds__(kMmaThreads) GroupedMmaKernel(GroupedProblem problem, SortedPairs pairs) {
  __shared__ __align__(16) uint16_t a_tiles[2][kTileRows * kMmaPitch];
  __shared__ __align__(16) uint16_t b_tiles[2][kMmaColumns * kMmaPitch];
  const GroupTile tile = TileOf(pairs, blockIdx.x);
  if (tile.count == 0) return;
  const int first_column = blockIdx.y * kMmaColumns, k = problem.k;
  const int warp = threadIdx.x / kWarpLanes, lane = threadIdx.x % kWarpLanes, g = lane / 4, t = lane % 4;
  const int row_of_warp = warp % 2 * 32, column_of_warp = warp / 2 * 64;
  const auto* x = static_cast<const uint16_t*>(problem.x);
  const auto* weight =
      static_cast<const uint16_t*>(problem.weight) + static_cast<int64_t>(tile.expert) * problem.n * k;
  const auto load = [&](int depth, int buffer) {
    constexpr int kChunks = kMmaDepth / 8;
    for (int i = threadIdx.x; i < kTileRows * kChunks; i += kMmaThreads) {
      const int row = i / kChunks, c = depth + i % kChunks * 8;
      const bool there = row < tile.count && c < k;
      const uint16_t* from = there ? x + RowOf(problem, pairs, tile.first + row) * k + c : x;
      CopyAsync16(a_tiles[buffer] + row * kMmaPitch + i % kChunks * 8, from, there);
    }
    for (int i = threadIdx.x; i < kMmaColumns * kChunks; i += kMmaThreads) {
      const int column = i / kChunks, c = depth + i % kChunks * 8;
      const bool there = first_column + column < problem.n && c < k;
      const uint16_t* from = there ? weight + static_cast<int64_t>(first_column + column) * k + c : weight;
      CopyAsync16(b_tiles[buffer] + column * kMmaPitch + i % kChunks * 8, from, there);
    }
    CommitCopies();
  };
  float sums[2][8][4] = {};
  load(0, 0);
  for (int depth = 0, buffer = 0; depth < k; depth += kMmaDepth, buffer = 1 - buffer) {
    WaitCopies<0>();
    __syncthreads();
    if (depth + kMmaDepth < k) load(depth + kMmaDepth, 1 - buffer);
#pragma unroll
    for (int step = 0; step < kMmaDepth; step += 16) {
      FragmentA a[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) a[i] = LoadA(a_tiles[buffer], kMmaPitch, row_of_warp + 16 * i, step);
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        FragmentB b[2];
        LoadB(b_tiles[buffer], kMmaPitch, column_of_warp + 8 * j, step, b);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          Mma(sums[i][j], a[i], b[0]);
          Mma(sums[i][j + 1], a[i], b[1]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const int row = row_of_warp + 16 * i + g + 8 * part;
      if (row >= tile.count) continue;
      float* to = problem.out + static_cast<int64_t>(tile.first + row) * problem.n;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int column = first_column + column_of_warp + 8 * j + 2 * t + c;
          if (column < problem.n) to[column] = sums[i][j][2 * part + c];
        }
      }
    }
  }
}

constexpr int kSimtColumns = 64;
constexpr int kSimtDepth = 16;
constexpr int kSimtThreads = 256;

template <typename T>
__device__ __forceinline__ float ValueOf(T x) {
  if constexpr (sizeof(T) == 2) {
    return FromBf16(x);
  } else {
    return x;
  }
}

// float32 sums of float32 or bfloat16 without tensor cores, of any size: 16 × 16 threads with 4 × 4 sums
// each.
template <typename T>
__global__ void __launch_bounds__(kSimtThreads) GroupedSimtKernel(GroupedProblem problem, SortedPairs pairs) {
  __shared__ float a_tile[kSimtDepth][kTileRows + 1];
  __shared__ float b_tile[kSimtDepth][kSimtColumns + 1];
  const GroupTile tile = TileOf(pairs, blockIdx.x);
  if (tile.count == 0) return;
  const int first_column = blockIdx.y * kSimtColumns, k = problem.k;
  const int row0 = threadIdx.x / 16 * 4, column0 = threadIdx.x % 16 * 4;
  const T* x = static_cast<const T*>(problem.x);
  const T* weight = static_cast<const T*>(problem.weight) + static_cast<int64_t>(tile.expert) * problem.n * k;
  float sums[4][4] = {};
  for (int depth = 0; depth < k; depth += kSimtDepth) {
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows * kSimtDepth; i += kSimtThreads) {
      const int row = i / kSimtDepth, c = i % kSimtDepth;
      const bool there = row < tile.count && depth + c < k;
      a_tile[c][row] = there ? ValueOf(x[RowOf(problem, pairs, tile.first + row) * k + depth + c]) : 0.0f;
    }
    for (int i = threadIdx.x; i < kSimtColumns * kSimtDepth; i += kSimtThreads) {
      const int column = i / kSimtDepth, c = i % kSimtDepth;
      const bool there = first_column + column < problem.n && depth + c < k;
      b_tile[c][column] =
          there ? ValueOf(weight[static_cast<int64_t>(first_column + column) * k + depth + c]) : 0.0f;
    }
    __syncthreads();
    for (int c = 0; c < kSimtDepth; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a_tile[c][row0 + i] * b_tile[c][column0 + j];
      }
    }
  }
  for (int i = 0; i < 4 && row0 + i < tile.count; ++i) {
    for (int j = 0; j < 4 && first_column + column0 + j < problem.n; ++j) {
      problem.out[static_cast<int64_t>(tile.first + row0 + i) * problem.n + first_column + column0 + j] =
          sums[i][j];
    }
  }
}

void GroupedProduct(const GroupedProblem& problem, const SortedPairs& pairs, bool half) {
  // Each expert may have one tile that is not full.
  const auto tiles =
      static_cast<unsigned>(CeilDiv(pairs.pairs, kTileRows) + std::min(pairs.experts, pairs.pairs));
  const auto columns = [&](int64_t width) { return static_cast<unsigned>(CeilDiv(problem.n, width)); };
  // Copies of 16 bytes.
  const bool aligned =
      (reinterpret_cast<uintptr_t>(problem.x) | reinterpret_cast<uintptr_t>(problem.weight)) % 16 == 0;
  if (half && problem.k % 8 == 0 && aligned) {
    Launch({dim3(tiles, columns(kMmaColumns)), dim3(kMmaThreads)}, GroupedMmaKernel, problem, pairs);
  } else if (half) {
    Launch({dim3(tiles, columns(kSimtColumns)), dim3(kSimtThreads)}, GroupedSimtKernel<uint16_t>, problem,
           pairs);
  } else {
    Launch({dim3(tiles, columns(kSimtColumns)), dim3(kSimtThreads)}, GroupedSimtKernel<float>, problem,
           pairs);
  }
}

// A block for each row: its experts' rows are added in the order of the experts.
__global__ void CombineExpertsKernel(SortedPairs pairs, const float* y, const float* weights, int h,
                                     float* out, bool accumulate) {
  __shared__ int places[kMostPerRow];
  __shared__ float factors[kMostPerRow];
  const int64_t row = blockIdx.x;
  const int k = pairs.per_row;
  for (int i = threadIdx.x; i < k; i += blockDim.x) {
    // Places ascend with experts: the number of smaller ones is the rank.
    const int own = pairs.positions[row * k + i];
    int rank = 0;
    for (int j = 0; j < k; ++j) rank += pairs.positions[row * k + j] < own;
    places[rank] = own;
    factors[rank] = weights[row * k + i];
  }
  __syncthreads();
  for (int c = threadIdx.x; c < h; c += blockDim.x) {
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += factors[i] * y[static_cast<int64_t>(places[i]) * h + c];
    float* to = out + row * h + c;
    *to = accumulate ? *to + sum : sum;
  }
}

}  // namespace

void TopK(Rows rows, const float* x, int64_t k, bool normalize, int32_t* indices, float* values) {
  constexpr int64_t kWarps = kThreads / kWarpLanes;
  Launch({dim3(static_cast<unsigned>(CeilDiv(rows.n, kWarps))), dim3(kThreads)}, TopKKernel, rows, x,
         static_cast<int>(k), normalize, indices, values);
}

void ExpertMlp(const ExpertMlpProblem& problem) {
  const int64_t n = problem.x.dim(0), h = problem.x.dim(1), k = problem.experts.dim(1);
  const int64_t experts = problem.gate_up.dim(0), intermediate = problem.down.dim(2), count = n * k;
  if (k > kMostPerRow) {
    throw std::invalid_argument("[expertMlp] expected at most " + std::to_string(kMostPerRow) +
                                " experts a row on a GPU, received " + std::to_string(k));
  }
  if (n == 0) return;
  const bool half = problem.gate_up.dtype() == DType::kBFloat16;
  const Scratch indices((3 * experts + 2 + 2 * count) * sizeof(int));
  int* next = indices.As<int>();
  const auto take = [&](int64_t size) {
    int* out = next;
    next += size;
    return out;
  };
  const SortedPairs pairs{static_cast<int>(count),
                          static_cast<int>(k),
                          static_cast<int>(experts),
                          take(experts),
                          take(experts + 1),
                          take(experts + 1),
                          take(count),
                          take(count)};
  const int32_t* chosen = problem.experts.data<int32_t>();
  Launch({dim3(static_cast<unsigned>(experts)), dim3(kThreads)}, CountPairsKernel, chosen, pairs);
  Launch({dim3(1), dim3(1)}, OffsetsKernel, pairs);
  Launch({dim3(static_cast<unsigned>(experts)), dim3(kThreads)}, PlacePairsKernel, chosen, pairs);

  const Scratch both(count * 2 * intermediate * sizeof(float));
  GroupedProduct({problem.x.raw(), true, problem.gate_up.raw(), both.As<float>(), static_cast<int>(h),
                  static_cast<int>(2 * intermediate)},
                 pairs, half);
  const Scratch gated(count * intermediate * sizeof(float));
  GatedActivation({both.As<float>(), 2 * intermediate, both.As<float>() + intermediate, 2 * intermediate,
                   count, intermediate},
                  problem.activation, gated.As<float>());
  const Scratch rounded(half ? count * intermediate * sizeof(uint16_t) : 0);
  if (half) Round(gated.As<float>(), count * intermediate, rounded.As<uint16_t>());
  const Scratch results(count * h * sizeof(float));
  GroupedProduct({half ? rounded.As<void>() : gated.As<void>(), false, problem.down.raw(),
                  results.As<float>(), static_cast<int>(intermediate), static_cast<int>(h)},
                 pairs, half);
  Launch({dim3(static_cast<unsigned>(n)), dim3(kThreads)}, CombineExpertsKernel, pairs, results.As<float>(),
         problem.weights.data<float>(), static_cast<int>(h), problem.out.data<float>(), problem.accumulate);
}

}  // namespace eyas::cuda
