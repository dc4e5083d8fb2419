#include <cmath>

#include "cuda/device/bf16.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// ---- element types and conversions

// bfloat16 as its bits, told from integers.
struct Half {
  uint16_t bits;
};

template <typename D>
struct To {
  // Toward zero and saturated, NaN to 0.
  static __device__ __forceinline__ D From(float x) {
    if (x != x) return 0;
    const float limit = sizeof(D) == 8 ? 9223372036854775808.0f : 2147483648.0f;
    const D largest = sizeof(D) == 8 ? static_cast<D>(0x7fffffffffffffffLL) : static_cast<D>(0x7fffffff);
    if (x >= limit) return largest;
    if (x <= -limit) return static_cast<D>(-largest - 1);
    return static_cast<D>(x);
  }
  static __device__ __forceinline__ D From(Half x) { return From(FromBf16(x.bits)); }
  static __device__ __forceinline__ D From(int64_t x) { return static_cast<D>(x); }
  static __device__ __forceinline__ D From(int32_t x) { return static_cast<D>(x); }
  static __device__ __forceinline__ D From(uint8_t x) { return static_cast<D>(x); }
};

template <>
struct To<float> {
  static __device__ __forceinline__ float From(float x) { return x; }
  static __device__ __forceinline__ float From(Half x) { return FromBf16(x.bits); }
  static __device__ __forceinline__ float From(int64_t x) { return static_cast<float>(x); }
  static __device__ __forceinline__ float From(int32_t x) { return static_cast<float>(x); }
  static __device__ __forceinline__ float From(uint8_t x) { return static_cast<float>(x); }
};

template <>
struct To<Half> {
  static __device__ __forceinline__ Half From(Half x) { return x; }
  template <typename S>
  static __device__ __forceinline__ Half From(S x) {
    return {ToBf16(static_cast<float>(x))};
  }
};

template <>
struct To<uint8_t> {
  static __device__ __forceinline__ uint8_t From(Half x) { return FromBf16(x.bits) != 0; }
  static __device__ __forceinline__ uint8_t From(uint8_t x) { return x; }
  template <typename S>
  static __device__ __forceinline__ uint8_t From(S x) {
    return x != 0;
  }
};

// ---- strided copies

struct Walk {
  int rank;
  int64_t shape[kMaxRank];
  int64_t source[kMaxRank];
  int64_t destination[kMaxRank];
};

// Dimensions that both sides walk in one step are merged.
Walk Coalesce(const Tensor& source, const Tensor& destination) {
  Walk walk{};
  for (int d = 0; d < source.rank(); ++d) {
    const int64_t n = source.dim(d);
    if (n == 1) continue;
    const int last = walk.rank - 1;
    if (last >= 0 && walk.source[last] == n * source.stride(d) &&
        walk.destination[last] == n * destination.stride(d)) {
      walk.shape[last] *= n;
    } else {
      walk.shape[walk.rank++] = n;
    }
    walk.source[walk.rank - 1] = source.stride(d);
    walk.destination[walk.rank - 1] = destination.stride(d);
  }
  if (walk.rank == 0) walk = {1, {1}, {1}, {1}};
  return walk;
}

template <typename S, typename D>
__global__ void CopyKernel(const S* source, D* destination, Walk walk, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    int64_t rest = i, from = 0, to = 0;
    for (int d = walk.rank - 1; d > 0; --d) {
      const int64_t index = rest % walk.shape[d];
      rest /= walk.shape[d];
      from += index * walk.source[d];
      to += index * walk.destination[d];
    }
    destination[to + rest * walk.destination[0]] = To<D>::From(source[from + rest * walk.source[0]]);
  }
}

// The common cases, contiguous: eight elements at a time.
__global__ void RoundKernel(const float* x, uint16_t* out, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x, eights = n / 8;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < eights; i += step) {
    const float4 a = reinterpret_cast<const float4*>(x)[2 * i],
                 b = reinterpret_cast<const float4*>(x)[2 * i + 1];
    reinterpret_cast<uint4*>(out)[i] =
        make_uint4(PackBf16(a.x, a.y), PackBf16(a.z, a.w), PackBf16(b.x, b.y), PackBf16(b.z, b.w));
  }
  for (int64_t i = 8 * eights + first; i < n; i += step) out[i] = ToBf16(x[i]);
}

bool Aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <typename S, typename D>
void CopyAs(const Tensor& source, const Tensor& destination) {
  const int64_t n = source.size();
  Launch(ForElements(n), CopyKernel<S, D>, static_cast<const S*>(source.raw()),
         static_cast<D*>(destination.raw()), Coalesce(source, destination), n);
}

template <typename S>
void CopyFrom(const Tensor& source, const Tensor& destination) {
  switch (destination.dtype()) {
    case DType::kFloat32:
      return CopyAs<S, float>(source, destination);
    case DType::kBFloat16:
      return CopyAs<S, Half>(source, destination);
    case DType::kInt64:
      return CopyAs<S, int64_t>(source, destination);
    case DType::kInt32:
      return CopyAs<S, int32_t>(source, destination);
    case DType::kBool:
      return CopyAs<S, uint8_t>(source, destination);
  }
}

template <typename T>
__global__ void FillKernel(T* out, Walk walk, int64_t n, T value) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    int64_t rest = i, to = 0;
    for (int d = walk.rank - 1; d >= 0; --d) {
      to += rest % walk.shape[d] * walk.destination[d];
      rest /= walk.shape[d];
    }
    out[to] = value;
  }
}

template <typename T>
void FillAs(const Tensor& tensor, T value) {
  Launch(ForElements(tensor.size()), FillKernel<T>, static_cast<T*>(tensor.raw()), Coalesce(tensor, tensor),
         tensor.size(), value);
}

// On the host, as cpu/copy.cc converts a value.
template <typename T>
T Saturated(double value) {
  if (value != value) return 0;
  const double limit = sizeof(T) == 8 ? 9223372036854775808.0 : 2147483648.0;
  const T largest = sizeof(T) == 8 ? static_cast<T>(0x7fffffffffffffffLL) : static_cast<T>(0x7fffffff);
  if (value >= limit) return largest;
  if (value <= -limit) return static_cast<T>(-largest - 1);
  return static_cast<T>(value);
}

}  // namespace

void Round(const float* x, int64_t n, uint16_t* out) {
  Launch(ForElements(CeilDiv(n, 8)), RoundKernel, x, out, n);
}

void Copy(const Tensor& source, const Tensor& destination) {
  if (source.size() == 0) return;
  if (source.contiguous() && destination.contiguous()) {
    if (source.dtype() == destination.dtype()) {
      EYAS_CUDA(cudaMemcpyAsync(destination.raw(), source.raw(), source.bytes(), cudaMemcpyDeviceToDevice,
                                Runtime::Get().stream()));
      return;
    }
    if (source.dtype() == DType::kFloat32 && destination.dtype() == DType::kBFloat16 &&
        Aligned(source.raw()) && Aligned(destination.raw())) {
      return Round(source.data<float>(), source.size(), static_cast<uint16_t*>(destination.raw()));
    }
  }
  switch (source.dtype()) {
    case DType::kFloat32:
      return CopyFrom<float>(source, destination);
    case DType::kBFloat16:
      return CopyFrom<Half>(source, destination);
    case DType::kInt64:
      return CopyFrom<int64_t>(source, destination);
    case DType::kInt32:
      return CopyFrom<int32_t>(source, destination);
    case DType::kBool:
      return CopyFrom<uint8_t>(source, destination);
  }
}

void Fill(const Tensor& tensor, double value) {
  if (tensor.size() == 0) return;
  if (value == 0 && !std::signbit(value) && tensor.contiguous()) {
    EYAS_CUDA(cudaMemsetAsync(tensor.raw(), 0, tensor.bytes(), Runtime::Get().stream()));
    return;
  }
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return FillAs(tensor, static_cast<float>(value));
    case DType::kBFloat16:
      return FillAs(tensor, Half{ToBFloat16(static_cast<float>(value)).bits});
    case DType::kInt64:
      return FillAs(tensor, Saturated<int64_t>(value));
    case DType::kInt32:
      return FillAs(tensor, Saturated<int32_t>(value));
    case DType::kBool:
      return FillAs(tensor, static_cast<uint8_t>(value != 0));
  }
}

}  // namespace eyas::cuda
