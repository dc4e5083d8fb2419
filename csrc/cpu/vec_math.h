#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cpu/simd.h"

// float32 functions without branches, which GCC vectorises in the loops they are inlined into (see simd.h).
// NaN and infinities come out as from libm. Polynomials are minimax fits to the functions.

namespace eyas::cpu {

EYAS_INLINE float BitsToFloat(int32_t bits) {
  float out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

EYAS_INLINE int32_t FloatToBits(float x) {
  int32_t out;
  std::memcpy(&out, &x, sizeof(out));
  return out;
}

// Within 1 ulp of exp(x); subnormal results are right as well.
EYAS_INLINE float Exp(float x) {
  x = x < -105.0f ? -105.0f : x;
  x = x > 89.0f ? 89.0f : x;
  // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
  constexpr float kRound = 12582912.0f;
  const float shifted = x * 1.44269504f + kRound;
  const int32_t n = FloatToBits(shifted) - FloatToBits(kRound);
  const float nf = shifted - kRound;
  const float r = (x - nf * 0.693145752f) - nf * 1.42860677e-06f;
  float p = 1.99076437e-04f;
  p = p * r + 1.39336827e-03f;
  p = p * r + 8.33328592e-03f;
  p = p * r + 4.16664647e-02f;
  p = p * r + 1.66666668e-01f;
  p = p * r + 0.5f;
  p = p * (r * r) + r;
  // In two steps, so that neither factor leaves the range of normal numbers.
  const int32_t half = n >> 1;
  const float scale = BitsToFloat((half + 127) * (1 << 23));
  const float rest = BitsToFloat((n - half + 127) * (1 << 23));
  return (p * scale + scale) * rest;
}

EYAS_INLINE float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }

// Within 2 ulp of tanh(x).
EYAS_INLINE float Tanh(float x) {
  const float a = std::fabs(x);
  const float z = x * x;
  float p = 2.22182646e-03f;
  p = p * z - 8.27978435e-03f;
  p = p * z + 2.17489029e-02f;
  p = p * z - 5.39567606e-02f;
  p = p * z + 1.33332929e-01f;
  p = p * z - 3.33333331e-01f;
  const float small = p * (z * x) + x;
  const float large = std::copysign(1.0f - 2.0f / (Exp(2.0f * a) + 1.0f), x);
  return a < 0.625f ? small : large;
}

// Within 3 ulp of erf(x).
EYAS_INLINE float Erf(float x) {
  float a = std::fabs(x);
  const float z = x * x;
  float p = -9.6801369e-06f;
  p = p * z + 1.12705447e-04f;
  p = p * z - 8.48471148e-04f;
  p = p * z + 5.22107488e-03f;
  p = p * z - 2.68654458e-02f;
  p = p * z + 1.12837827e-01f;
  p = p * z - 3.76126385e-01f;
  p = p * z + 1.12837917f;
  const float small = p * x;
  // log(1 - erf), which is 1 to float32 beyond 4.
  a = a > 4.0f ? 4.0f : a;
  float q = -2.16865095e-05f;
  q = q * a + 4.41332389e-04f;
  q = q * a - 4.20454225e-03f;
  q = q * a + 2.52082041e-02f;
  q = q * a - 1.08418494e-01f;
  q = q * a - 6.3321997e-01f;
  q = q * a - 1.12957839f;
  q = q * a + 1.88031841e-04f;
  const float large = std::copysign(1.0f - Exp(q), x);
  return std::fabs(x) < 1.0f ? small : large;
}

}  // namespace eyas::cpu
