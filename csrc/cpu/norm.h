#pragma once

#include <cstdint>

#include "core/backend.h"

namespace eyas::cpu {

// out = x · rsqrt(mean(x²) + eps) · weight; weight may be nullptr: 1.
void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out);
// dx; dweight, if not nullptr, is added to. Partial sums of threads are added in order.
void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                     float* dweight);

// dweight [n,h] += g · diag(norm); dnorm [h] += Σ_n weight ∘ g. Rows of dweight and weight may be strided.
template <typename T>
void FoldedNormBackward(Rows rows, const float* g, const T* weight, int64_t weight_stride, const float* norm,
                        float* dweight, int64_t dweight_stride, float* dnorm);

// out = (x − mean) · rsqrt(var + eps) · weight + bias; bias may be nullptr.
void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps, float* out);
// dx; dweight and dbias, if not nullptr, are added to.
void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight, float* dbias);

}  // namespace eyas::cpu
