#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace eyas::cpu {

// destination = source, element type converted; shapes are equal, strides arbitrary, memory disjoint.
void Copy(const Tensor& source, const Tensor& destination);
void Fill(const Tensor& tensor, double value);

void FloatToBFloat16(const float* source, bfloat16* destination, int64_t n);
void BFloat16ToFloat(const bfloat16* source, float* destination, int64_t n);
// IEEE half precision, as its 16 bits.
void HalfToFloat(const uint16_t* source, float* destination, int64_t n);

}  // namespace eyas::cpu
