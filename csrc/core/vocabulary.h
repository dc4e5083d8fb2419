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

struct TeacherResult {
  Tensor argmax;         // int32 [N], over V
  Tensor probabilities;  // float32 [N,C]
};

// Of x [N,H] · weightᵀ the argmax over V, and the softmax over the columns named by int32 [C], ascending.
TeacherResult LinearTeacher(const Tensor& x, const Tensor& weight, const Tensor& columns);

struct SoftCrossEntropyResult {
  Tensor losses;  // float32 [N]: −Σ_v p(v) log q(v), not scaled
  Tensor argmax;  // int32 [N], of x · weightᵀ
  Tensor dx;      // [N,H], gradient of Σ scales · losses; undefined without scales
};

struct SoftCrossEntropyArgs {
  Tensor x;
  Tensor weight;
  Tensor teacher;       // float32 [R,V]
  Tensor teacher_rows;  // int32 [N]
  Tensor scales;        // float32 [N]; absent: no gradient is computed
  Tensor dweight;       // float32 [V,H] or absent: receives the gradient of the weights
  bool accumulate;      // adds to dweight instead of overwriting it
};

// q = softmax(x · weightᵀ) against row teacher_rows[i] of the teacher.
SoftCrossEntropyResult LinearSoftCrossEntropy(const SoftCrossEntropyArgs& args);

}  // namespace eyas
