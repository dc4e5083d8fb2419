#pragma once

#include <cstdint>

#include "core/backend.h"

namespace eyas::cpu {

// The row count up to which GemmRows serves.
constexpr int64_t kMaxGemmRows = 16;

// oneDNN. Primitives are kept by shape and layout: making one takes a quarter of a millisecond.
void GemmOneDnn(const GemmProblem& problem);
// Whether its kernels for this type read panels: those of AVX-512, AVX512-BF16 and AMX.
bool GemmReadsPanels(DType dtype);

// For 1 ≤ M ≤ kMaxGemmRows, where the product is bound by reading b: reads it once for all rows. The bits of
// a row do not depend on M, nor on the number of threads. Here a may be float32 where b is bfloat16: it is
// rounded.
void GemmRows(const GemmProblem& problem);
// The same by contiguous rows of weights: out [rows,n] = x [rows,k] · weightᵀ (+ bias) (+ out), without what
// a call with tensors costs.
void MultiplyRows(const float* x, int64_t rows, const Tensor& weight, const float* bias, float* out,
                  bool accumulate);

}  // namespace eyas::cpu
