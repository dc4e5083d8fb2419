#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/gemm.h"
#include "cpu/simd.h"

// What the kernels of GemmRows share.

namespace eyas::cpu {

constexpr int kLanes = 16;
typedef float Lanes __attribute__((vector_size(kLanes * 4)));
typedef uint32_t WordLanes __attribute__((vector_size(kLanes * 4)));
typedef uint16_t HalfLanes __attribute__((vector_size(kLanes * 2)));

// Rows of contiguous elements, `stride` apart.
template <typename T>
struct Matrix {
  const T* data;
  int64_t stride;
};

// Where rows of results go.
struct RowsOutput {
  float* data;
  int64_t stride;
  const float* bias;
  bool accumulate;

  EYAS_INLINE void Store(int64_t m, int64_t n, float value) const {
    float* target = data + m * stride + n;
    if (bias != nullptr) value += bias[n];
    *target = accumulate ? *target + value : value;
  }

  EYAS_INLINE void StoreRow(int64_t m, int64_t n, int64_t count, const float* values) const {
    float* target = data + m * stride + n;
    if (bias == nullptr && !accumulate) {
      std::memcpy(target, values, count * sizeof(float));
      return;
    }
    for (int64_t c = 0; c < count; ++c) {
      const float value = bias == nullptr ? values[c] : values[c] + bias[n + c];
      target[c] = accumulate ? target[c] + value : value;
    }
  }
};

// Scalar operations of a column. Measured: reading b takes as long as multiplying it by three rows.
inline int64_t ColumnCost(int64_t rows, int64_t k) { return k * (rows + 3) / 8; }

// GemmRows by b as it is, [K,N], of contiguous rows.
void MultiplyPlain(const GemmProblem& problem, const RowsOutput& out);

}  // namespace eyas::cpu
