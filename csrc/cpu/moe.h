#pragma once

#include "core/backend.h"

namespace eyas::cpu {

// Indices and values of the k largest of each of `rows` contiguous rows of `width` values, largest first, the
// lower index first of equals; `normalize` divides the values of a row by their sum.
void TopK(const float* x, int64_t rows, int64_t width, int64_t k, bool normalize, int32_t* indices,
          float* values);

// See ExpertMlpProblem. Only what was chosen is computed; a row's experts are added in ascending order.
void ExpertMlp(const ExpertMlpProblem& problem);

// sum[ids[i]] += weights[i]·source[i], in the order of i; contiguous rows of `width` values.
void AddWeightedRows(float* sum, int64_t width, const int64_t* ids, const float* weights, int64_t rows,
                     const float* source);

}  // namespace eyas::cpu
