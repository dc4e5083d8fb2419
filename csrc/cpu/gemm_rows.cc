#include <algorithm>
#include <cstring>

#include "core/ops.h"
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

// Weights that a group of rows is multiplied by are asked for `ahead` values before they are: where few rows
// of weights are read at a time, the hardware alone does not fetch them as fast as memory gives.
template <typename T>
struct Weights {
  const T* data;
  int64_t stride;
  int64_t ahead;
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

// Rows of a that are multiplied together where `left` are left.
template <int tile>
EYAS_INLINE int64_t RowsAtOnce(int64_t left) {
  if (left >= 8) return 8;
  if (tile % 6 == 0 && left >= 6) return 6;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// Sets, or with `add` adds to, sums[m …][column …]: the products of the values [begin, end) of `rows` rows of
// a, packed together in x, and of `columns` rows of weights from n on.
template <typename W, int tile, int rows, int columns>
EYAS_INLINE void DotTile(const float* x, Weights<W> weights, int64_t begin, int64_t end, bool add, int64_t m,
                         int64_t n, int64_t column, GroupSums& sums) {
  constexpr int kVectors = Step<W>::kVectors;
  static_assert(rows * columns <= tile);
  constexpr int kSums = (rows * columns + kTile - 1) / kTile * kTile;
  const W* w = weights.data + n * weights.stride;
  x += begin * rows;
  const W* next = w + weights.ahead + begin * columns;
  Lanes lanes[kSums] = {};
  int64_t i = begin;
  for (; i + kStepSize<W> <= end; i += kStepSize<W>) {
    Lanes step[columns][kVectors];
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
      if constexpr (columns < kTile) __builtin_prefetch(next + c * kStepSize<W>);
      Step<W>::Load(w + c * weights.stride + i, step[c]);
    }
    next += columns * kStepSize<W>;
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        Lanes values;
        std::memcpy(&values, x + (v * rows + r) * kLanes, sizeof(values));
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) lanes[r * columns + c] += step[c][v] * values;
      }
    }
    x += rows * kStepSize<W>;
  }
  float totals[kSums];
#pragma GCC unroll 3
  for (int t = 0; t < kSums; t += kTile) SumLanes(lanes + t, totals + t);
  // The sum over j stays innermost: the same code for every tile gives the same rounding.
  for (int r = 0; i < end && r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      float sum = totals[r * columns + c];
      for (int64_t j = i; j < end; ++j) sum += ToFloat(w[c * weights.stride + j]) * x[r * (end - i) + j - i];
      totals[r * columns + c] = sum;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
      float* sum = &sums[m + r][column + c];
      *sum = add ? *sum + totals[r * columns + c] : totals[r * columns + c];
    }
  }
}

// A group of `columns` rows of weights from n on.
template <typename W, int tile, int rows>
EYAS_INLINE void DotColumns(const float* x, Weights<W> weights, int64_t begin, int64_t end, int64_t m, int64_t n,
                            int64_t columns, GroupSums& sums) {
  constexpr int kColumns = std::min(tile / rows, kTile);
  int64_t c = 0;
  for (; c + kColumns <= columns; c += kColumns) {
    DotTile<W, tile, rows, kColumns>(x, weights, begin, end, begin > 0, m, n + c, c, sums);
  }
  for (; c < columns; ++c) {
    DotTile<W, tile, rows, 1>(x, weights, begin, end, begin > 0, m, n + c, c, sums);
  }
}

template <typename W, int tile>
EYAS_INLINE void DotRange(const float* x, int64_t rows, Weights<W> weights, int64_t k, int64_t begin,
                          int64_t end, const Output& out) {
  static_assert(kBlock % kStepSize<W> == 0);
  for (int64_t n = begin; n < end; n += tile) {
    const int64_t columns = std::min<int64_t>(tile, end - n);
    GroupSums sums;
    for (int64_t from = 0; from < k; from += kBlock) {
      const int64_t to = std::min(from + kBlock, k);
      for (int64_t m = 0; m < rows;) {
        const int64_t count = RowsAtOnce<tile>(rows - m);
        const float* part = x + m * k;
        switch (count) {
          case 8:
            DotColumns<W, tile, 8>(part, weights, from, to, m, n, columns, sums);
            break;
          case 6:
            if constexpr (tile % 6 == 0) DotColumns<W, tile, 6>(part, weights, from, to, m, n, columns, sums);
            break;
          case 4:
            DotColumns<W, tile, 4>(part, weights, from, to, m, n, columns, sums);
            break;
          case 2:
            DotColumns<W, tile, 2>(part, weights, from, to, m, n, columns, sums);
            break;
          default:
            DotColumns<W, tile, 1>(part, weights, from, to, m, n, columns, sums);
        }
        m += count;
      }
    }
    if (columns == tile) {
      for (int64_t m = 0; m < rows; ++m) out.StoreRow(m, n, tile, sums[m]);
    } else {
      for (int64_t m = 0; m < rows; ++m) out.StoreRow(m, n, columns, sums[m]);
    }
  }
}

EYAS_SIMD_CLONES void DotFloat(const float* x, int64_t rows, Weights<float> weights, int64_t k, int64_t begin,
                               int64_t end, bool wide, const Output& out) {
  if (wide) return DotRange<float, kWideTile>(x, rows, weights, k, begin, end, out);
  DotRange<float, kTile>(x, rows, weights, k, begin, end, out);
}

EYAS_SIMD_CLONES void DotBFloat16(const float* x, int64_t rows, Weights<bfloat16> weights, int64_t k,
                                  int64_t begin, int64_t end, bool wide, const Output& out) {
  if (wide) return DotRange<bfloat16, kWideTile>(x, rows, weights, k, begin, end, out);
  DotRange<bfloat16, kTile>(x, rows, weights, k, begin, end, out);
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

// ---- rows of a

// Steps of float32 rows that bfloat16 weights multiply: rounded, and in the order of Step<bfloat16>.
struct Rounded {};

template <>
struct Step<Rounded> {
  static constexpr int kVectors = 2;
  static EYAS_INLINE void Load(const float* values, Lanes* out) {
    constexpr WordLanes kEven = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
    Lanes low, high;
    std::memcpy(&low, values, sizeof(Lanes));
    std::memcpy(&high, values + kLanes, sizeof(Lanes));
    out[0] = __builtin_shuffle(low, high, kEven);
    out[1] = __builtin_shuffle(low, high, kEven + 1);
    Round(out);
    Round(out + 1);
  }
  static EYAS_INLINE void Round(Lanes* values) {
    for (int i = 0; i < kLanes; ++i) (*values)[i] = ToFloat(ToBFloat16((*values)[i]));
  }
};

// Rows of a as DotTile reads them: those that are multiplied together, step by step, each step's vectors side
// by side.
template <typename S, typename A>
EYAS_INLINE void PackRange(Matrix<A> a, int64_t rows, int64_t k, bool wide, float* out) {
  constexpr int kVectors = Step<S>::kVectors;
  for (int64_t m = 0; m < rows;) {
    const int64_t count = wide ? RowsAtOnce<kWideTile>(rows - m) : RowsAtOnce<kTile>(rows - m);
    int64_t i = 0;
    for (; i + kStepSize<S> <= k; i += kStepSize<S>) {
      for (int64_t r = 0; r < count; ++r) {
        Lanes step[kVectors];
        Step<S>::Load(a.data + (m + r) * a.stride + i, step);
        for (int v = 0; v < kVectors; ++v) {
          std::memcpy(out + (v * count + r) * kLanes, step + v, sizeof(Lanes));
        }
      }
      out += count * kStepSize<S>;
    }
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t j = i; j < k; ++j) {
        const float value = ToFloat(a.data[(m + r) * a.stride + j]);
        *out++ = kVectors == 1 ? value : ToFloat(ToBFloat16(value));
      }
    }
    m += count;
  }
}

EYAS_SIMD_CLONES void PackFloat(Matrix<float> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<float>(a, rows, k, wide, out);
}

EYAS_SIMD_CLONES void PackRounded(Matrix<float> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<Rounded>(a, rows, k, wide, out);
}

EYAS_SIMD_CLONES void PackBFloat16(Matrix<bfloat16> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<bfloat16>(a, rows, k, wide, out);
}

// Of short rows so many bytes lie ahead, of long ones a group of rows, of which a block is read at a time.
constexpr int64_t kAheadBytes = 12 << 10;

template <typename W>
Weights<W> WeightsOf(const Tensor& b, bool wide) {
  const int64_t stride = b.stride(1);
  const int64_t group = (wide ? kWideTile : kTile) * stride;
  return {b.data<W>(), stride, b.dim(0) > kBlock ? group : kAheadBytes / static_cast<int64_t>(sizeof(W))};
}

template <typename B>
Matrix<B> RowsOf(const Tensor& tensor, int row_dim) {
  return {tensor.data<B>(), tensor.stride(row_dim)};
}

// The values of a as they are multiplied, packed for DotTile or as rows [M,K].
Tensor PackRows(const Tensor& argument, DType type, bool transposed, bool wide) {
  const int64_t rows = argument.dim(0), k = argument.dim(1);
  if (!transposed) {
    return Cast(argument.dtype() == type ? argument : Cast(argument, type), DType::kFloat32);
  }
  const Tensor a = argument.ContiguousFrom(1) ? argument : Contiguous(argument);
  const bool floats = a.dtype() == DType::kFloat32;
  if (floats && type == DType::kFloat32 && rows == 1) return a;
  const Tensor packed({rows, k}, DType::kFloat32);
  float* out = packed.data<float>();
  if (!floats) {
    PackBFloat16(RowsOf<bfloat16>(a, 0), rows, k, wide, out);
  } else if (type == DType::kFloat32) {
    PackFloat(RowsOf<float>(a, 0), rows, k, wide, out);
  } else {
    PackRounded(RowsOf<float>(a, 0), rows, k, wide, out);
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
  // Whether there are 32 vector registers.
  static const bool wide = __builtin_cpu_supports("x86-64-v4");
  const Tensor packed = PackRows(problem.a, b.dtype(), transposed, wide);
  const float* x = packed.data<float>();
  const Output out = {problem.out.data<float>(), problem.out.stride(0), problem.bias, problem.accumulate};
  // Measured: reading b takes as long as multiplying it by three rows.
  ParallelFor(b.dim(1), k * (rows + 3) / 8, [&](int64_t begin, int64_t end) {
    if (transposed && floats) {
      DotFloat(x, rows, WeightsOf<float>(b, wide), k, begin, end, wide, out);
    } else if (transposed) {
      DotBFloat16(x, rows, WeightsOf<bfloat16>(b, wide), k, begin, end, wide, out);
    } else if (floats) {
      SumFloat({x, k}, rows, RowsOf<float>(b, 0), k, begin, end, out);
    } else {
      SumBFloat16({x, k}, rows, RowsOf<bfloat16>(b, 0), k, begin, end, out);
    }
  });
}

}  // namespace eyas::cpu
