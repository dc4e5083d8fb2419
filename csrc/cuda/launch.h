#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>
#include <utility>

#include "cuda/runtime.h"

// How kernels are started: Launch({blocks, threads, shared bytes}, Kernel, arguments…), on the compute
// stream.

namespace eyas::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
};

// Shared memory of the size that the launch names, as an array of `type`.
#ifdef EYAS_EMULATED
#define EYAS_DYNAMIC_SHARED(type, name) \
  type* name = reinterpret_cast<type*>(::eyas::emulation::current->dynamic_shared)
#else
#define EYAS_DYNAMIC_SHARED(type, name)                   \
  extern __shared__ __align__(16) unsigned char bytes_[]; \
  type* name = reinterpret_cast<type*>(bytes_)
#endif

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads of the kernels that go over elements.
constexpr unsigned kThreads = 256;
// Their most blocks: each thread then takes several elements.
constexpr int64_t kMostBlocks = 4096;
// The driver's limit of a grid's second and third dimension.
constexpr int64_t kMostBlocksY = 65535;

inline LaunchShape ForElements(int64_t n) {
  return {
      dim3(static_cast<unsigned>(CeilDiv(n, kThreads) < kMostBlocks ? CeilDiv(n, kThreads) : kMostBlocks)),
      dim3(kThreads)};
}

namespace detail {

#ifdef EYAS_EMULATED

template <typename T>
void ExpectDevice(const T& argument) {
  if constexpr (std::is_pointer_v<T>) {
    if (argument != nullptr && !emulation::IsDevice(argument)) {
      throw std::logic_error("a kernel was handed memory of the host");
    }
  }
}

template <typename... Parameters, size_t... I>
void LaunchWith(const LaunchShape& shape, void (*kernel)(Parameters...), std::tuple<Parameters...> values,
                std::index_sequence<I...>) {
  (ExpectDevice(std::get<I>(values)), ...);
  Runtime::Get().stream()->Enqueue([=] {
    emulation::RunGrid("a kernel", shape.grid, shape.block, shape.shared_bytes,
                       [&] { kernel(std::get<I>(values)...); });
  });
}

#else

// A block gets more shared memory than this only where it was asked for.
constexpr size_t kPlainSharedBytes = 48 << 10;

template <typename... Parameters, size_t... I>
void LaunchWith(const LaunchShape& shape, void (*kernel)(Parameters...), std::tuple<Parameters...> values,
                std::index_sequence<I...>) {
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > kPlainSharedBytes) {
    EYAS_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape.shared_bytes)));
  }
  void* arguments[] = {&std::get<I>(values)..., nullptr};
  EYAS_CUDA(cudaLaunchKernel(function, shape.grid, shape.block, arguments, shape.shared_bytes,
                             Runtime::Get().stream()));
}

#endif

}  // namespace detail

template <typename... Parameters, typename... Arguments>
void Launch(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  // An empty grid is an error for the driver and nothing to do for us.
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  detail::LaunchWith(shape, kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...),
                     std::index_sequence_for<Parameters...>());
}

}  // namespace eyas::cuda
