#pragma once

#include "cuda/attention.h"
#include "cuda/device/exp2.cuh"
#include "cuda/device/mma.cuh"

// What attention's kernels on tensor cores share: rows of a tile, their keys, pairs of features.

namespace eyas::cuda {

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

// Two neighbouring features of a row, as far as there are so many.
__device__ __forceinline__ void StorePair(float* row, int feature, float low, float high, int head_dim,
                                          bool pairs) {
  if (pairs) {
    if (feature < head_dim) *reinterpret_cast<float2*>(row + feature) = make_float2(low, high);
  } else {
    if (feature < head_dim) row[feature] = low;
    if (feature + 1 < head_dim) row[feature + 1] = high;
  }
}

// Whether the features of all rows of an array lie in pairs.
__device__ __forceinline__ bool InPairs(const float* rows, int head_dim) {
  return head_dim % 2 == 0 && reinterpret_cast<uintptr_t>(rows) % sizeof(float2) == 0;
}

// The same, added in memory.
__device__ __forceinline__ void AddPair(float* row, int feature, float low, float high, int head_dim,
                                        bool pairs) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (pairs) {
    if (feature < head_dim) {
      asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(row + feature)),
                   "f"(low), "f"(high)
                   : "memory");
    }
    return;
  }
#endif
  if (feature < head_dim) atomicAdd(row + feature, low);
  if (feature + 1 < head_dim) atomicAdd(row + feature + 1, high);
}

}  // namespace eyas::cuda
