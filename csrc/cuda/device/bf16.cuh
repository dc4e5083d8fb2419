#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// bfloat16 as its 16 bits.

namespace eyas::cuda {

__device__ __forceinline__ float FromBf16(uint16_t bits) {
  return __int_as_float(static_cast<int>(static_cast<uint32_t>(bits) << 16));
}

// To nearest, ties to even; a NaN stays a (quiet) NaN.
__device__ __forceinline__ uint16_t ToBf16(float x) {
  const uint32_t bits = static_cast<uint32_t>(__float_as_int(x));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Two of them in a word, the first in the low half: what tensor cores read.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
#ifdef EYAS_EMULATED
  return static_cast<uint32_t>(ToBf16(low)) | static_cast<uint32_t>(ToBf16(high)) << 16;
#else
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
#endif
}

}  // namespace eyas::cuda
