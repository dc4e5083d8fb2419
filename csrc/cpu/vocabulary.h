#pragma once

#include <cstdint>

#include "core/backend.h"

// Row kernels over a vocabulary. Rows are contiguous, row-major.

namespace eyas::cpu {

// Goes on with columns first ≤ j < first + columns of each row; x [rows, columns].
void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first, const ArgmaxState& state);

// out[i][j] = x[i][columns[j] − first]; rows of x [n,h] are contiguous, those of out `stride` elements apart.
void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first, float* out,
                 int64_t stride);

// Soft cross-entropy of each row and its gradient, scale · (q · Σp − p), written over the logits or, where
// `rounded` is given, there.
void SoftCrossEntropy(const CrossEntropyRows& rows);

}  // namespace eyas::cpu
