#pragma once

#include <cuda_runtime.h>

// Sums and maxima over the threads of a warp or a block, in an order that does not change.

namespace eyas::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarpLanes = 32;

struct SumOf {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct MaxOf {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};

// A lane's value of any type made of words.
template <typename T>
__device__ __forceinline__ T ShuffleXor(T value, int lanes) {
  static_assert(sizeof(T) % sizeof(unsigned) == 0);
  union Words {
    T value;
    unsigned words[sizeof(T) / sizeof(unsigned)];
    __device__ Words() {}
  } out;
  out.value = value;
#pragma unroll
  for (unsigned& word : out.words) word = __shfl_xor_sync(kAllLanes, word, lanes);
  return out.value;
}

template <typename T, typename Operation>
__device__ __forceinline__ T WarpReduce(T value, Operation operation) {
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    value = operation(value, ShuffleXor(value, step));
  }
  return value;
}

// The result in every thread; `shared` has room for 33 values and may be used again at once. Threads are a
// multiple of a warp.
template <typename T, typename Operation>
__device__ __forceinline__ T BlockReduce(T value, Operation operation, T* shared) {
  const int lane = threadIdx.x % kWarpLanes, warp = threadIdx.x / kWarpLanes;
  const int warps = blockDim.x / kWarpLanes;
  value = WarpReduce(value, operation);
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    T total = shared[0];
    for (int i = 1; i < warps; ++i) total = operation(total, shared[i]);
    shared[kWarpLanes] = total;
  }
  __syncthreads();
  value = shared[kWarpLanes];
  __syncthreads();
  return value;
}

}  // namespace eyas::cuda
