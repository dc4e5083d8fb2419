#pragma once

#include <cstdint>

#include "core/dtype.h"

// Row kernels over a vocabulary. Rows are contiguous, row-major.

namespace eyas::cpu {

// The largest element seen so far of each row, lowest index on ties; NaN never wins.
struct ArgmaxState {
  float* value;    // [rows], at first −∞
  int32_t* index;  // [rows], at first 0
};

// Goes on with columns first ≤ j < first + columns of each row; x [rows, columns].
void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first, const ArgmaxState& state);

struct FloatRows {
  const float* data;
  int64_t rows;
  int64_t stride;
};

// out[i][j] = x[i][columns[j]]; rows of out are `stride` elements apart.
void TakeColumns(const FloatRows& x, const int32_t* columns, int64_t count, float* out, int64_t stride);

// Softmax of each row, in place.
void SoftmaxInPlace(float* x, int64_t rows, int64_t columns);

struct CrossEntropyRows {
  float* logits;                // [rows, columns]; overwritten
  const float* teacher;         // [·, columns]
  int64_t teacher_stride;       // in elements
  const int32_t* teacher_rows;  // [rows]
  int64_t rows;
  int64_t columns;
  const float* scales;  // [rows], or null: the logits are left as exponentials
  double* loss;         // [rows]: −Σ_v p(v) log q(v)
  int32_t* argmax;      // [rows], of the logits
  bfloat16* rounded;    // [rows, columns] or null
};

// Soft cross-entropy of each row and its gradient, scale · (q · Σp − p), written over the logits or, where
// `rounded` is given, there.
void SoftCrossEntropy(const CrossEntropyRows& rows);

}  // namespace eyas::cpu
