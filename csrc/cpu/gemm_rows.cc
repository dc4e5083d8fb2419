#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "cpu/gemm.h"
#include "cpu/simd.h"

// Each element of the result is summed in an order that K alone decides: rows and columns are grouped for
// speed, but never reordered within one sum.

namespace eyas::cpu {

namespace {

constexpr int kLanes = 16;
typedef float Lanes __attribute__((vector_size(kLanes * 4)));
typedef uint32_t WordLanes __attribute__((vector_size(kLanes * 4)));
typedef uint16_t HalfLanes __attribute__((vector_size(kLanes * 2)));

// Outputs that are computed together: enough independent sums to fill the multiply-add units.
constexpr int kTile = 8;

struct Output {
  float* data;
  int64_t stride;
  const float* bias;
  bool accumulate;

  EYAS_INLINE void Store(int64_t m, int64_t n, float value) const {
    float* target = data + m * stride + n;
    if (bias != nullptr) value += bias[n];
    *target = accumulate ? *target + value : value;
  }
};

// Adds the lanes of each of kTile vectors, lane i to lane i + 8, then i + 4, i + 2 and i + 1, whatever the
// tile is. Two vectors share one from the second step on.
EYAS_INLINE void SumLanes(const Lanes* sums, float* out) {
  constexpr WordLanes kLow8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
  constexpr WordLanes kHigh8 = kLow8 + 8;
  constexpr WordLanes kLow4 = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
  constexpr WordLanes kHigh4 = kLow4 + 4;
  constexpr WordLanes kLow2 = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29};
  constexpr WordLanes kHigh2 = kLow2 + 2;
  Lanes eights[kTile / 2];
  for (int i = 0; i < kTile / 2; ++i) {
    eights[i] = __builtin_shuffle(sums[2 * i], sums[2 * i + 1], kLow8) +
                __builtin_shuffle(sums[2 * i], sums[2 * i + 1], kHigh8);
  }
  Lanes fours[kTile / 4];
  for (int i = 0; i < kTile / 4; ++i) {
    fours[i] = __builtin_shuffle(eights[2 * i], eights[2 * i + 1], kLow4) +
               __builtin_shuffle(eights[2 * i], eights[2 * i + 1], kHigh4);
  }
  const Lanes twos =
      __builtin_shuffle(fours[0], fours[1], kLow2) + __builtin_shuffle(fours[0], fours[1], kHigh2);
  float pairs[kLanes];
  std::memcpy(pairs, &twos, sizeof(pairs));
  for (int i = 0; i < kTile; ++i) out[i] = pairs[2 * i] + pairs[2 * i + 1];
}

// ---- b transposed: rows of weights [N,K]; each element is a dot product of two rows

// Weights that one step reads, as float32 lanes. A step of bfloat16 is 32 values, the even ones (low halves
// of 32-bit words) before the odd ones; PackRows gives the rows of a the same order.
template <typename W>
struct Step;

template <>
struct Step<float> {
  static constexpr int kVectors = 1;
  static EYAS_INLINE void Load(const float* weights, Lanes* out) { std::memcpy(out, weights, sizeof(Lanes)); }
};

template <>
struct Step<bfloat16> {
  static constexpr int kVectors = 2;
  static EYAS_INLINE void Load(const bfloat16* weights, Lanes* out) {
    WordLanes words;
    std::memcpy(&words, weights, sizeof(words));
    const WordLanes even = words << 16;
    const WordLanes odd = words & 0xffff0000u;
    std::memcpy(out, &even, sizeof(Lanes));
    std::memcpy(out + 1, &odd, sizeof(Lanes));
  }
};

template <typename W>
constexpr int64_t kStepSize = kLanes * Step<W>::kVectors;

// `rows` rows of a (packed, row stride k) by `columns` rows of weights.
template <typename W, int rows, int columns>
EYAS_INLINE void DotTile(const float* a, const W* weights, int64_t weight_stride, int64_t k, int64_t m,
                         int64_t n, const Output& out) {
  constexpr int kVectors = Step<W>::kVectors;
  static_assert(rows * columns <= kTile);
  Lanes sums[kTile] = {};
  int64_t i = 0;
  for (; i + kStepSize<W> <= k; i += kStepSize<W>) {
    Lanes w[columns][kVectors];
    for (int c = 0; c < columns; ++c) Step<W>::Load(weights + c * weight_stride + i, w[c]);
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        Lanes x;
        std::memcpy(&x, a + r * k + i + v * kLanes, sizeof(x));
        for (int c = 0; c < columns; ++c) sums[r * columns + c] += w[c][v] * x;
      }
    }
  }
  float totals[kTile];
  SumLanes(sums, totals);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      float sum = totals[r * columns + c];
      for (int64_t j = i; j < k; ++j) sum += ToFloat(weights[c * weight_stride + j]) * a[r * k + j];
      out.Store(m + r, n + c, sum);
    }
  }
}

template <typename W, int rows>
EYAS_INLINE void DotColumns(const float* a, const W* weights, int64_t weight_stride, int64_t k, int64_t m,
                            int64_t begin, int64_t end, const Output& out) {
  constexpr int kColumns = kTile / rows;
  int64_t n = begin;
  for (; n + kColumns <= end; n += kColumns) {
    DotTile<W, rows, kColumns>(a + m * k, weights + n * weight_stride, weight_stride, k, m, n, out);
  }
  for (; n < end; ++n) {
    DotTile<W, rows, 1>(a + m * k, weights + n * weight_stride, weight_stride, k, m, n, out);
  }
}

template <typename W>
EYAS_INLINE void DotRange(const float* a, int64_t rows, const W* weights, int64_t weight_stride, int64_t k,
                          int64_t begin, int64_t end, const Output& out) {
  // In groups of columns, so that the second tile of rows finds the weights in cache.
  for (int64_t n = begin; n < end; n += kTile) {
    const int64_t stop = std::min(n + kTile, end);
    int64_t m = 0;
    for (; m + 8 <= rows; m += 8) DotColumns<W, 8>(a, weights, weight_stride, k, m, n, stop, out);
    for (; m + 4 <= rows; m += 4) DotColumns<W, 4>(a, weights, weight_stride, k, m, n, stop, out);
    for (; m + 2 <= rows; m += 2) DotColumns<W, 2>(a, weights, weight_stride, k, m, n, stop, out);
    if (m < rows) DotColumns<W, 1>(a, weights, weight_stride, k, m, n, stop, out);
  }
}

EYAS_SIMD_CLONES void DotFloat(const float* a, int64_t rows, const float* weights, int64_t weight_stride,
                               int64_t k, int64_t begin, int64_t end, const Output& out) {
  DotRange(a, rows, weights, weight_stride, k, begin, end, out);
}

EYAS_SIMD_CLONES void DotBFloat16(const float* a, int64_t rows, const bfloat16* weights,
                                  int64_t weight_stride, int64_t k, int64_t begin, int64_t end,
                                  const Output& out) {
  DotRange(a, rows, weights, weight_stride, k, begin, end, out);
}

// ---- b as it is, [K,N]; each element is a sum over the rows of b

EYAS_INLINE void LoadLanes(const float* source, Lanes* out) { std::memcpy(out, source, sizeof(Lanes)); }

EYAS_INLINE void LoadLanes(const bfloat16* source, Lanes* out) {
  HalfLanes halves;
  std::memcpy(&halves, source, sizeof(halves));
  const WordLanes words = __builtin_convertvector(halves, WordLanes) << 16;
  std::memcpy(out, &words, sizeof(Lanes));
}

template <typename B, int rows>
EYAS_INLINE void SumTile(const float* a, const B* b, int64_t b_stride, int64_t k, int64_t m, int64_t begin,
                         int64_t end, const Output& out) {
  int64_t n = begin;
  for (; n + kLanes <= end; n += kLanes) {
    Lanes sums[rows] = {};
    for (int64_t i = 0; i < k; ++i) {
      Lanes x;
      LoadLanes(b + i * b_stride + n, &x);
      for (int r = 0; r < rows; ++r) sums[r] += x * a[(m + r) * k + i];
    }
    for (int r = 0; r < rows; ++r) {
      for (int lane = 0; lane < kLanes; ++lane) out.Store(m + r, n + lane, sums[r][lane]);
    }
  }
  for (; n < end; ++n) {
    for (int r = 0; r < rows; ++r) {
      float sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += ToFloat(b[i * b_stride + n]) * a[(m + r) * k + i];
      out.Store(m + r, n, sum);
    }
  }
}

template <typename B>
EYAS_INLINE void SumRange(const float* a, int64_t rows, const B* b, int64_t b_stride, int64_t k,
                          int64_t begin, int64_t end, const Output& out) {
  int64_t m = 0;
  for (; m + 8 <= rows; m += 8) SumTile<B, 8>(a, b, b_stride, k, m, begin, end, out);
  for (; m + 4 <= rows; m += 4) SumTile<B, 4>(a, b, b_stride, k, m, begin, end, out);
  for (; m < rows; ++m) SumTile<B, 1>(a, b, b_stride, k, m, begin, end, out);
}

EYAS_SIMD_CLONES void SumFloat(const float* a, int64_t rows, const float* b, int64_t b_stride, int64_t k,
                               int64_t begin, int64_t end, const Output& out) {
  SumRange(a, rows, b, b_stride, k, begin, end, out);
}

EYAS_SIMD_CLONES void SumBFloat16(const float* a, int64_t rows, const bfloat16* b, int64_t b_stride,
                                  int64_t k, int64_t begin, int64_t end, const Output& out) {
  SumRange(a, rows, b, b_stride, k, begin, end, out);
}

// ---- rows of a as float32 [M,K]

// Whole steps of bfloat16 rows are put in the order in which Step<bfloat16> reads weights, if `split`.
EYAS_SIMD_CLONES void WidenRow(const bfloat16* source, int64_t stride, int64_t k, bool split, float* out) {
  constexpr int64_t kStep = kStepSize<bfloat16>;
  int64_t i = 0;
  for (; split && i + kStep <= k; i += kStep) {
    for (int64_t j = 0; j < kLanes; ++j) {
      out[i + j] = ToFloat(source[(i + 2 * j) * stride]);
      out[i + kLanes + j] = ToFloat(source[(i + 2 * j + 1) * stride]);
    }
  }
  for (; i < k; ++i) out[i] = ToFloat(source[i * stride]);
}

Tensor PackRows(const Tensor& a, bool split) {
  const int64_t rows = a.dim(0);
  const int64_t k = a.dim(1);
  if (a.dtype() == DType::kFloat32 && a.contiguous()) return a;
  Tensor packed({rows, k}, DType::kFloat32);
  float* out = packed.data<float>();
  for (int64_t m = 0; m < rows; ++m, out += k) {
    if (a.dtype() == DType::kBFloat16) {
      WidenRow(a.data<bfloat16>() + m * a.stride(0), a.stride(1), k, split, out);
    } else {
      const float* source = a.data<float>() + m * a.stride(0);
      for (int64_t i = 0; i < k; ++i) out[i] = source[i * a.stride(1)];
    }
  }
  return packed;
}

}  // namespace

void GemmRows(const GemmProblem& problem) {
  const Tensor& b = problem.b;
  const int64_t rows = problem.a.dim(0);
  const int64_t k = b.dim(0);
  const bool transposed = b.stride(0) == 1;
  const bool floats = b.dtype() == DType::kFloat32;
  const Tensor packed = PackRows(problem.a, transposed);
  const float* a = packed.data<float>();
  const Output out = {problem.out.data<float>(), problem.out.stride(0), problem.bias, problem.accumulate};
  // Bytes of b are what the time goes to: sixteen of its values a cycle at best.
  ParallelFor(b.dim(1), k * (rows + 3) / 8, [&](int64_t begin, int64_t end) {
    if (transposed && floats) {
      DotFloat(a, rows, b.data<float>(), b.stride(1), k, begin, end, out);
    } else if (transposed) {
      DotBFloat16(a, rows, b.data<bfloat16>(), b.stride(1), k, begin, end, out);
    } else if (floats) {
      SumFloat(a, rows, b.data<float>(), b.stride(0), k, begin, end, out);
    } else {
      SumBFloat16(a, rows, b.data<bfloat16>(), b.stride(0), k, begin, end, out);
    }
  });
}

}  // namespace eyas::cpu
