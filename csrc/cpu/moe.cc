#include "cpu/moe.h"

#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

// Keeps the largest values so far sorted: most of a row is compared with the last of them only.
void TopKOfRow(const float* x, int64_t width, int64_t k, int32_t* indices, float* values) {
  int64_t count = 0;
  for (int64_t i = 0; i < width; ++i) {
    if (count == k && !(x[i] > values[k - 1])) continue;
    int64_t at = count < k ? count++ : k - 1;
    for (; at > 0 && x[i] > values[at - 1]; --at) {
      values[at] = values[at - 1];
      indices[at] = indices[at - 1];
    }
    values[at] = x[i];
    indices[at] = static_cast<int32_t>(i);
  }
}

EYAS_SIMD_CLONES void AddWeightedColumns(float* sum, int64_t width, const int64_t* ids, const float* weights,
                                         int64_t rows, const float* source, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < rows; ++i) {
    float* to = sum + ids[i] * width;
    const float* from = source + i * width;
    for (int64_t j = begin; j < end; ++j) to[j] += weights[i] * from[j];
  }
}

}  // namespace

void TopK(const float* x, int64_t rows, int64_t width, int64_t k, bool normalize, int32_t* indices,
          float* values) {
  ParallelFor(rows, 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* chosen = values + row * k;
      TopKOfRow(x + row * width, width, k, indices + row * k, chosen);
      if (!normalize) continue;
      float sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += chosen[i];
      for (int64_t i = 0; i < k; ++i) chosen[i] /= sum;
    }
  });
}

void AddWeightedRows(float* sum, int64_t width, const int64_t* ids, const float* weights, int64_t rows,
                     const float* source) {
  // Threads take columns, so that a row may be named twice.
  ParallelFor(width, rows, [&](int64_t begin, int64_t end) {
    AddWeightedColumns(sum, width, ids, weights, rows, source, begin, end);
  });
}

}  // namespace eyas::cpu
