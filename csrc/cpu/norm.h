#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace eyas::cpu {

// N contiguous rows of H float32 features.
struct Rows {
  int64_t n;
  int64_t h;
};

// out = x · rsqrt(mean(x²) + eps) · weight
void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out);
// dx; dweight, if not nullptr, is added to. Partial sums of threads are added in order.
void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                     float* dweight);

// out = (x − mean) · rsqrt(var + eps) · weight + bias; bias may be nullptr.
void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps, float* out);
// dx; dweight and dbias, if not nullptr, are added to.
void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight, float* dbias);

}  // namespace eyas::cpu
