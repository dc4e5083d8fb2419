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

// Outputs that are computed together: enough independent sums to fill the multiply-add units. With 32 vector
// registers three times as many fit, and each value that is loaded serves more of them.
constexpr int kTile = 8;
constexpr int kWideTile = 3 * kTile;

// Rows of contiguous elements, `stride` apart.
template <typename T>
struct Matrix {
  const T* data;
  int64_t stride;
};

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

// Adds the lanes of each of kTile vectors, lane i to lane i + 8, then i + 4, i + 2 and i + 1, whatever the
// tile is. Two vectors share one from the second step on.
EYAS_INLINE void SumLanes(const Lanes* sums, float* out) {
  constexpr WordLanes kLow8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
  constexpr WordLanes kHigh8 = kLow8 + 8;
  constexpr WordLanes kLow4 = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
  constexpr WordLanes kHigh4 = kLow4 + 4;
  constexpr WordLanes kLow2 = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29};
  constexpr WordLanes kHigh2 = kLow2 + 2;
  constexpr WordLanes kEven = {0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14};
  constexpr WordLanes kOdd = kEven + 1;
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
  const Lanes ones = __builtin_shuffle(twos, kEven) + __builtin_shuffle(twos, kOdd);
  std::memcpy(out, &ones, kTile * sizeof(float));
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

// Values of a row that are multiplied at a time: eight rows of them stay in the first cache, however long
// they are.
constexpr int64_t kBlock = 512;

// Sums of all rows and of the columns of one group.
typedef float GroupSums[kMaxGemmRows][kWideTile];

// Adds the products of the values [begin, end) of `rows` rows of a from m on and of `columns` rows of weights
// from n on, to sums[m …][column …].
template <typename W, int tile, bool fetch, int rows, int columns>
EYAS_INLINE void DotTile(Matrix<float> a, Matrix<W> weights, int64_t begin, int64_t end, int64_t m, int64_t n,
                         int64_t column, GroupSums& sums) {
  constexpr int kVectors = Step<W>::kVectors;
  static_assert(rows * columns <= tile);
  constexpr int kSums = (rows * columns + kTile - 1) / kTile * kTile;
  const float* x = a.data + m * a.stride;
  const W* w = weights.data + n * weights.stride;
  Lanes lanes[kSums] = {};
  int64_t i = begin;
  for (; i + kStepSize<W> <= end; i += kStepSize<W>) {
    Lanes step[columns][kVectors];
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
      const W* source = w + c * weights.stride + i;
      // The next group is asked for while this one is multiplied: where few rows of weights are read at a
      // time, the hardware alone does not fetch them as fast as memory gives. From a cache it does.
      if constexpr (fetch && columns < kTile) __builtin_prefetch(source + tile * weights.stride);
      Step<W>::Load(source, step[c]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        Lanes values;
        std::memcpy(&values, x + r * a.stride + i + v * kLanes, sizeof(values));
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) lanes[r * columns + c] += step[c][v] * values;
      }
    }
  }
  float totals[kSums];
#pragma GCC unroll 3
  for (int t = 0; t < kSums; t += kTile) SumLanes(lanes + t, totals + t);
  // The sum over j stays innermost: the same code for every tile gives the same rounding.
  for (int r = 0; i < end && r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      float sum = totals[r * columns + c];
      for (int64_t j = i; j < end; ++j) sum += ToFloat(w[c * weights.stride + j]) * x[r * a.stride + j];
      totals[r * columns + c] = sum;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) sums[m + r][column + c] += totals[r * columns + c];
  }
}

// A group of `columns` rows of weights from n on.
template <typename W, int tile, bool fetch, int rows>
EYAS_INLINE void DotColumns(Matrix<float> a, Matrix<W> weights, int64_t begin, int64_t end, int64_t m,
                            int64_t n, int64_t columns, GroupSums& sums) {
  constexpr int kColumns = std::min(tile / rows, kTile);
  int64_t c = 0;
  for (; c + kColumns <= columns; c += kColumns) {
    DotTile<W, tile, fetch, rows, kColumns>(a, weights, begin, end, m, n + c, c, sums);
  }
  for (; c < columns; ++c) DotTile<W, tile, fetch, rows, 1>(a, weights, begin, end, m, n + c, c, sums);
}

template <typename W, int tile, bool fetch>
EYAS_INLINE void DotRange(Matrix<float> a, int64_t rows, Matrix<W> weights, int64_t k, int64_t begin,
                          int64_t end, const Output& out) {
  static_assert(kBlock % kStepSize<W> == 0);
  for (int64_t n = begin; n < end; n += tile) {
    const int64_t columns = std::min<int64_t>(tile, end - n);
    GroupSums sums;
    std::memset(sums, 0, rows * sizeof(sums[0]));
    for (int64_t from = 0; from < k; from += kBlock) {
      const int64_t to = std::min(from + kBlock, k);
      int64_t m = 0;
      for (; m + 8 <= rows; m += 8) DotColumns<W, tile, fetch, 8>(a, weights, from, to, m, n, columns, sums);
      if constexpr (tile % 6 == 0) {
        for (; m + 6 <= rows; m += 6)
          DotColumns<W, tile, fetch, 6>(a, weights, from, to, m, n, columns, sums);
      }
      for (; m + 4 <= rows; m += 4) DotColumns<W, tile, fetch, 4>(a, weights, from, to, m, n, columns, sums);
      for (; m + 2 <= rows; m += 2) DotColumns<W, tile, fetch, 2>(a, weights, from, to, m, n, columns, sums);
      if (m < rows) DotColumns<W, tile, fetch, 1>(a, weights, from, to, m, n, columns, sums);
    }
    for (int64_t m = 0; m < rows; ++m) out.StoreRow(m, n, columns, sums[m]);
  }
}

enum class Reading { kNarrow, kWide, kWideCached };

// Weights of up to so many bytes are likely in a cache since they were read last.
constexpr size_t kCachedBytes = 4 << 20;

Reading ReadingOf(const Tensor& weights) {
  static const bool wide = __builtin_cpu_supports("x86-64-v4");
  if (!wide) return Reading::kNarrow;
  return weights.bytes() <= kCachedBytes ? Reading::kWideCached : Reading::kWide;
}

EYAS_SIMD_CLONES void DotFloat(Matrix<float> a, int64_t rows, Matrix<float> weights, int64_t k, int64_t begin,
                               int64_t end, Reading reading, const Output& out) {
  switch (reading) {
    case Reading::kNarrow:
      return DotRange<float, kTile, true>(a, rows, weights, k, begin, end, out);
    case Reading::kWide:
      return DotRange<float, kWideTile, true>(a, rows, weights, k, begin, end, out);
    case Reading::kWideCached:
      return DotRange<float, kWideTile, false>(a, rows, weights, k, begin, end, out);
  }
}

EYAS_SIMD_CLONES void DotBFloat16(Matrix<float> a, int64_t rows, Matrix<bfloat16> weights, int64_t k,
                                  int64_t begin, int64_t end, Reading reading, const Output& out) {
  switch (reading) {
    case Reading::kNarrow:
      return DotRange<bfloat16, kTile, true>(a, rows, weights, k, begin, end, out);
    case Reading::kWide:
      return DotRange<bfloat16, kWideTile, true>(a, rows, weights, k, begin, end, out);
    case Reading::kWideCached:
      return DotRange<bfloat16, kWideTile, false>(a, rows, weights, k, begin, end, out);
  }
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
EYAS_INLINE void SumTile(Matrix<float> a, Matrix<B> b, int64_t k, int64_t m, int64_t begin, int64_t end,
                         const Output& out) {
  const float* x = a.data + m * a.stride;
  int64_t n = begin;
  for (; n + kLanes <= end; n += kLanes) {
    Lanes sums[rows] = {};
    for (int64_t i = 0; i < k; ++i) {
      Lanes values;
      LoadLanes(b.data + i * b.stride + n, &values);
      for (int r = 0; r < rows; ++r) sums[r] += values * x[r * a.stride + i];
    }
    for (int r = 0; r < rows; ++r) {
      for (int lane = 0; lane < kLanes; ++lane) out.Store(m + r, n + lane, sums[r][lane]);
    }
  }
  for (; n < end; ++n) {
    for (int r = 0; r < rows; ++r) {
      float sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += ToFloat(b.data[i * b.stride + n]) * x[r * a.stride + i];
      out.Store(m + r, n, sum);
    }
  }
}

template <typename B>
EYAS_INLINE void SumRange(Matrix<float> a, int64_t rows, Matrix<B> b, int64_t k, int64_t begin, int64_t end,
                          const Output& out) {
  int64_t m = 0;
  for (; m + 8 <= rows; m += 8) SumTile<B, 8>(a, b, k, m, begin, end, out);
  for (; m + 4 <= rows; m += 4) SumTile<B, 4>(a, b, k, m, begin, end, out);
  for (; m < rows; ++m) SumTile<B, 1>(a, b, k, m, begin, end, out);
}

EYAS_SIMD_CLONES void SumFloat(Matrix<float> a, int64_t rows, Matrix<float> b, int64_t k, int64_t begin,
                               int64_t end, const Output& out) {
  SumRange(a, rows, b, k, begin, end, out);
}

EYAS_SIMD_CLONES void SumBFloat16(Matrix<float> a, int64_t rows, Matrix<bfloat16> b, int64_t k, int64_t begin,
                                  int64_t end, const Output& out) {
  SumRange(a, rows, b, k, begin, end, out);
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

// Rows whose distance is a multiple of this many values compete for the same few places of the first cache.
constexpr int64_t kAliasing = 512;

Tensor PackRows(const Tensor& a, bool split) {
  const int64_t rows = a.dim(0);
  const int64_t k = a.dim(1);
  const bool aliases = rows > 1 && k % kAliasing == 0;
  if (a.dtype() == DType::kFloat32 && a.contiguous() && !aliases) return a;
  const Tensor packed({rows, aliases ? k + kLanes : k}, DType::kFloat32);
  for (int64_t m = 0; m < rows; ++m) {
    float* out = packed.data<float>() + m * packed.stride(0);
    if (a.dtype() == DType::kBFloat16) {
      WidenRow(a.data<bfloat16>() + m * a.stride(0), a.stride(1), k, split, out);
    } else {
      const float* source = a.data<float>() + m * a.stride(0);
      for (int64_t i = 0; i < k; ++i) out[i] = source[i * a.stride(1)];
    }
  }
  return packed;
}

template <typename B>
Matrix<B> RowsOf(const Tensor& tensor, int row_dim) {
  return {tensor.data<B>(), tensor.stride(row_dim)};
}

}  // namespace

void GemmRows(const GemmProblem& problem) {
  const Tensor& b = problem.b;
  const int64_t rows = problem.a.dim(0);
  const int64_t k = b.dim(0);
  const bool transposed = b.stride(0) == 1;
  const bool floats = b.dtype() == DType::kFloat32;
  const Tensor packed = PackRows(problem.a, transposed);
  const Matrix<float> a = RowsOf<float>(packed, 0);
  const Reading reading = ReadingOf(b);
  const Output out = {problem.out.data<float>(), problem.out.stride(0), problem.bias, problem.accumulate};
  // Measured: reading b takes as long as multiplying it by three rows.
  ParallelFor(b.dim(1), k * (rows + 3) / 8, [&](int64_t begin, int64_t end) {
    if (transposed && floats) {
      DotFloat(a, rows, RowsOf<float>(b, 1), k, begin, end, reading, out);
    } else if (transposed) {
      DotBFloat16(a, rows, RowsOf<bfloat16>(b, 1), k, begin, end, reading, out);
    } else if (floats) {
      SumFloat(a, rows, RowsOf<float>(b, 0), k, begin, end, out);
    } else {
      SumBFloat16(a, rows, RowsOf<bfloat16>(b, 0), k, begin, end, out);
    }
  });
}

}  // namespace eyas::cpu
