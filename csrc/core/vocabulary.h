#pragma once

#include "core/tensor.h"

// Ops over a vocabulary V. Products of all rows with the whole vocabulary are never held, but where they are
// the result. Shapes: N rows, H features; weights [V,H] are float32 or bfloat16 (then products round both
// factors).

namespace eyas {

// float32 x [..., V] of rank 1 or 2 → int32 [N]: lowest index on ties, NaN never wins.
Tensor Argmax(const Tensor& x);

// Argmax over V of x [N,H] · weightᵀ → int32 [N].
Tensor LinearArgmax(const Tensor& x, const Tensor& weight);

// Softmax over V of x [N,H] · weightᵀ → float32 [N,V].
Tensor LinearSoftmax(const Tensor& x, const Tensor& weight);

struct SoftCrossEntropyResult {
  double loss;    // Σ over rows of −Σ_v p(v) log q(v), not scaled, summed in float64 in the order of rows
  Tensor argmax;  // int32 [N], of x · weightᵀ
  Tensor dx;      // [N,H], gradient of scale · loss
};

// q = softmax(x · weightᵀ) against row teacher_rows[i] (int32 [N]) of teacher (float32 [R,V]). The gradient
// of scale · loss with respect to the weights is added to dweight, float32 [V,H] or absent.
SoftCrossEntropyResult LinearSoftCrossEntropy(const Tensor& x, const Tensor& weight, const Tensor& teacher,
                                              const Tensor& teacher_rows, double scale,
                                              const Tensor& dweight);

}  // namespace eyas
