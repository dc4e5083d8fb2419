#include "cpu/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "cpu/simd.h"
#include "cpu/vec_math.h"

namespace eyas::cpu {

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// Columns of which the largest is found before it is looked for.
constexpr int64_t kSearch = 512;
// Scalar operations per element of a softmax.
constexpr int64_t kSoftmaxCost = 16;

EYAS_INLINE float Largest(const float* x, int64_t n) {
  float largest = kNone;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < n; ++j) largest = x[j] > largest ? x[j] : largest;
  return largest;
}

EYAS_SIMD_CLONES void UpdateRow(const float* x, int64_t n, int64_t first, float* value, int32_t* index) {
  for (int64_t at = 0; at < n; at += kSearch) {
    const int64_t count = std::min(kSearch, n - at);
    const float largest = Largest(x + at, count);
    if (!(largest > *value)) continue;
    *value = largest;
    *index = static_cast<int32_t>(first + (std::find(x + at, x + at + count, largest) - x));
  }
}

EYAS_SIMD_CLONES void TakeRow(const float* x, const int32_t* columns, int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) out[j] = x[columns[j]];
}

EYAS_SIMD_CLONES float CrossEntropyRow(float* x, const float* p, int64_t n, float largest, const float* scale,
                                       bfloat16* rounded) {
  float total = 0.0f, teacher_total = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : total, teacher_total, product)
  for (int64_t j = 0; j < n; ++j) {
    const float shifted = x[j] - largest;
    teacher_total += p[j];
    product += p[j] * shifted;
    x[j] = Exp(shifted);
    total += x[j];
  }
  const double loss = static_cast<double>(teacher_total) * std::log(static_cast<double>(total)) - product;
  if (scale == nullptr) return static_cast<float>(loss);
  const float factor = *scale, weight = factor * teacher_total / total;
  if (rounded != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) rounded[j] = ToBFloat16(x[j] * weight - factor * p[j]);
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) x[j] = x[j] * weight - factor * p[j];
  }
  return static_cast<float>(loss);
}

}  // namespace

void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first, const ArgmaxState& state) {
  ParallelFor(rows, columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      UpdateRow(x + i * columns, columns, first, state.value + i, state.index + i);
    }
  });
}

void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first, float* out,
                 int64_t stride) {
  ParallelFor(rows.n, 2 * count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) TakeRow(x + i * rows.h - first, columns, count, out + i * stride);
  });
}

void SoftCrossEntropy(const CrossEntropyRows& rows) {
  ParallelFor(rows.rows, rows.columns * kSoftmaxCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* logits = rows.logits + i * rows.columns;
      float largest = kNone;
      rows.argmax[i] = 0;
      UpdateRow(logits, rows.columns, 0, &largest, rows.argmax + i);
      rows.loss[i] =
          CrossEntropyRow(logits, rows.teacher + rows.teacher_rows[i] * rows.teacher_stride, rows.columns,
                          largest, rows.scales == nullptr ? nullptr : rows.scales + i,
                          rows.rounded == nullptr ? nullptr : rows.rounded + i * rows.columns);
    }
  });
}

}  // namespace eyas::cpu
