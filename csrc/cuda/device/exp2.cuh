#pragma once

#include <cuda_runtime.h>

#include <cmath>

namespace eyas::cuda {

// 2^x in one instruction, where exp2f spends three more on results below the smallest normal number: here
// they are 0.
__device__ __forceinline__ float Exp2(float x) {
#ifdef EYAS_EMULATED
  return exp2f(x);
#else
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
#endif
}

}  // namespace eyas::cuda
