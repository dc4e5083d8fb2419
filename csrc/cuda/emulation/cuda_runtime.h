#pragma once

// CUDA without a GPU: the kernels of csrc/cuda compiled for the CPU, so that a machine without one checks
// what they compute. Blocks run one after another, the threads of a block as fibers that take turns at
// barriers, in orders that change with every grid and phase: a missing barrier shows, and so does a sum that
// depends on the order. Streams do their work when somebody waits for them and device memory cannot be
// touched from outside: a missing wait shows, too. A block can have EYAS_EMULATED_SHARED_BYTES of shared
// memory, by default what an H100 gives. This header takes the place of CUDA's own; it has what csrc/cuda
// uses.

#define EYAS_EMULATED

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// Blocks run one at a time.
#define __shared__ static

// ---- types

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int32_t x, y;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

// ---- the thread that runs

namespace eyas::emulation {

constexpr int kWarp = 32;
// Bytes that a lane hands to the others of its warp at once.
constexpr size_t kExchangeBytes = 64;

struct ThreadContext {
  uint3 thread;
  uint3 block;
  dim3 block_dim;
  dim3 grid_dim;
  char* dynamic_shared;
  int lane;
};

// Of the fiber that runs.
extern ThreadContext* current;

void BlockBarrier();
// Waits for the lanes of `mask`, then gives what each of them handed over, kExchangeBytes a lane; valid until
// the lane's next exchange but one.
const char* Exchange(unsigned mask, const void* value, size_t bytes);

template <typename T>
T FromLane(const char* exchanged, int lane) {
  T out;
  std::memcpy(&out, exchanged + lane * kExchangeBytes, sizeof(T));
  return out;
}

// A copy to shared memory that the hardware makes later: its bytes arrive at the wait.
void DeferCopy(void* to, const void* from, size_t bytes, size_t zeros);
void CommitCopies();
// Lets all but the latest `pending` groups of the calling thread arrive.
void WaitCopies(int pending);

}  // namespace eyas::emulation

#define threadIdx (::eyas::emulation::current->thread)
#define blockIdx (::eyas::emulation::current->block)
#define blockDim (::eyas::emulation::current->block_dim)
#define gridDim (::eyas::emulation::current->grid_dim)

inline void __syncthreads() { ::eyas::emulation::BlockBarrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { ::eyas::emulation::Exchange(mask, "", 1); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const int base = ::eyas::emulation::current->lane / width * width;
  const char* all = ::eyas::emulation::Exchange(mask, &value, sizeof(value));
  return ::eyas::emulation::FromLane<T>(all, base + lane % width);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  const int lane = ::eyas::emulation::current->lane;
  const char* all = ::eyas::emulation::Exchange(mask, &value, sizeof(value));
  const int from = lane ^ lane_mask;
  return ::eyas::emulation::FromLane<T>(all, from / width == lane / width ? from : lane);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = ::eyas::emulation::current->lane, from = lane + static_cast<int>(delta);
  const char* all = ::eyas::emulation::Exchange(mask, &value, sizeof(value));
  return ::eyas::emulation::FromLane<T>(all, from / width == lane / width ? from : lane);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = ::eyas::emulation::current->lane, from = lane - static_cast<int>(delta);
  const char* all = ::eyas::emulation::Exchange(mask, &value, sizeof(value));
  return ::eyas::emulation::FromLane<T>(all, from >= lane / width * width ? from : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const char* all = ::eyas::emulation::Exchange(mask, &predicate, sizeof(predicate));
  unsigned out = 0;
  for (int lane = 0; lane < ::eyas::emulation::kWarp; ++lane) {
    if ((mask >> lane & 1) && ::eyas::emulation::FromLane<int>(all, lane) != 0) out |= 1u << lane;
  }
  return out;
}

inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <typename T>
T __ldg(const T* p) {
  return *p;
}

// Threads take turns: nothing comes in between.
template <typename T>
T atomicAdd(T* p, T value) {
  const T before = *p;
  *p = before + value;
  return before;
}

template <typename T>
T atomicMax(T* p, T value) {
  const T before = *p;
  if (value > before) *p = value;
  return before;
}

template <typename T>
T atomicMin(T* p, T value) {
  const T before = *p;
  if (value < before) *p = value;
  return before;
}

inline void __threadfence() {}
[[noreturn]] inline void __trap() { __builtin_trap(); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline float __int_as_float(int x) {
  float out;
  std::memcpy(&out, &x, sizeof(out));
  return out;
}
inline int __float_as_int(float x) {
  int out;
  std::memcpy(&out, &x, sizeof(out));
  return out;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline void sincospi(double x, double* s, double* c) {
  *s = std::sin(x * M_PI);
  *c = std::cos(x * M_PI);
}
template <typename T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
  return a < b ? b : a;
}

// ---- the runtime

// A stream that does its work when it is waited for.
struct CUstream_st {
  virtual void Enqueue(std::function<void()> work) = 0;

 protected:
  ~CUstream_st() = default;
};
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNotReady = 600
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDisableTiming = 2;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major;
  int minor;
  int multiProcessorCount;
  size_t sharedMemPerBlockOptin;
  size_t sharedMemPerMultiprocessor;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void** block, size_t bytes);
cudaError_t cudaFree(void* block);
cudaError_t cudaMallocHost(void** block, size_t bytes);
cudaError_t cudaFreeHost(void* block);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

namespace eyas::emulation {

// Whether memory is the device's.
bool IsDevice(const void* p);
// Runs every thread of a grid.
void RunGrid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes,
             const std::function<void()>& body);

}  // namespace eyas::emulation
