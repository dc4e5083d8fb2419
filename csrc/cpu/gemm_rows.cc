#include "cpu/gemm_rows.h"

#include <algorithm>
#include <type_traits>

#include "core/ops.h"
#include "core/parallel.h"

// Each element of the result is summed in an order that K alone decides: rows and columns are grouped for
// speed, but never reordered within one sum.

namespace eyas::cpu {

namespace {

// Outputs that are computed together: enough independent sums to fill the multiply-add units. With 32 vector
// registers three times as many fit, and each value that is loaded serves more of them.
constexpr int kTile = 8;
constexpr int kWideTile = 3 * kTile;

// Weights that a group of rows is multiplied by are asked for `ahead` values before they are: where few rows
// of weights are read at a time, the hardware alone does not fetch them as fast as memory gives.
template <typename T>
struct Weights {
  const T* data;
  int64_t stride;
  int64_t ahead;
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

// What is multiplied at a time: kSize values of a row, in vectors of weights and as many of a.
struct FloatStep {
  using Weight = float;
  using Value = float;
  static constexpr int kVectors = 1;
  static constexpr int64_t kSize = kLanes;
  static EYAS_INLINE void Load(const float* weights, Lanes* out) { std::memcpy(out, weights, sizeof(Lanes)); }
  static EYAS_INLINE void MultiplyAdd(const Lanes& w, const Lanes& x, Lanes* sum) { *sum += w * x; }
};

// The even values (low halves of 32-bit words) and the odd ones as float32.
struct WidenedStep {
  using Weight = bfloat16;
  using Value = float;
  static constexpr int kVectors = 2;
  static constexpr int64_t kSize = 2 * kLanes;
  static EYAS_INLINE void Load(const bfloat16* weights, Lanes* out) {
    WordLanes words;
    std::memcpy(&words, weights, sizeof(words));
    const WordLanes even = words << 16;
    const WordLanes odd = words & 0xffff0000u;
    std::memcpy(out, &even, sizeof(Lanes));
    std::memcpy(out + 1, &odd, sizeof(Lanes));
  }
  static EYAS_INLINE void MultiplyAdd(const Lanes& w, const Lanes& x, Lanes* sum) { *sum += w * x; }
};

// Pairs of bfloat16 as the processor multiplies them.
struct PairStep {
  using Weight = bfloat16;
  using Value = bfloat16;
  static constexpr int kVectors = 1;
  static constexpr int64_t kSize = 2 * kLanes;
  static EYAS_INLINE void Load(const bfloat16* weights, Lanes* out) {
    std::memcpy(out, weights, sizeof(Lanes));
  }
  static EYAS_INLINE void MultiplyAdd(const Lanes& w, const Lanes& x, Lanes* sum) {
    Lanes result = *sum;
    asm("vdpbf16ps %2, %1, %0" : "+v"(result) : "v"(w), "v"(x));
    *sum = result;
  }
};

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

// Sets, or with `add` adds to, the sums of a row: in one piece where a vector has that size.
template <int columns>
EYAS_INLINE void AddRow(const float* totals, bool add, float* sums) {
  if constexpr ((columns & (columns - 1)) == 0) {
    typedef float Row __attribute__((vector_size(columns * sizeof(float))));
    Row row, sum;
    std::memcpy(&row, totals, sizeof(row));
    if (add) {
      std::memcpy(&sum, sums, sizeof(sum));
      row += sum;
    }
    std::memcpy(sums, &row, sizeof(row));
  } else {
    for (int c = 0; c < columns; ++c) sums[c] = add ? sums[c] + totals[c] : totals[c];
  }
}

// Sets, or with `add` adds to, sums[m …][column …]: the products of the values [begin, end) of `rows` rows of
// a, packed together in x, and of `columns` rows of weights from n on.
template <typename S, int tile, int rows, int columns>
EYAS_INLINE void DotTile(const typename S::Value* x, Weights<typename S::Weight> weights, int64_t begin,
                         int64_t end, bool add, int64_t m, int64_t n, int64_t column, GroupSums& sums) {
  using W = typename S::Weight;
  constexpr int kVectors = S::kVectors;
  static_assert(rows * columns <= tile);
  constexpr int64_t kInVector = S::kSize / kVectors;
  constexpr int kSums = (rows * columns + kTile - 1) / kTile * kTile;
  const W* w = weights.data + n * weights.stride;
  x += begin * rows;
  const W* next = w + weights.ahead + begin * columns;
  Lanes lanes[kSums] = {};
  int64_t i = begin;
  for (; i + S::kSize <= end; i += S::kSize) {
    Lanes step[columns][kVectors];
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
      if constexpr (columns < kTile) __builtin_prefetch(next + c * S::kSize);
      S::Load(w + c * weights.stride + i, step[c]);
    }
    next += columns * S::kSize;
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        Lanes values;
        std::memcpy(&values, x + (v * rows + r) * kInVector, sizeof(values));
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) S::MultiplyAdd(step[c][v], values, &lanes[r * columns + c]);
      }
    }
    x += rows * S::kSize;
  }
  float totals[kSums];
#pragma GCC unroll 3
  for (int t = 0; t < kSums; t += kTile) SumLanes(lanes + t, totals + t);
  // The sum over j stays innermost: the same code for every tile gives the same rounding.
  for (int r = 0; i < end && r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      float sum = totals[r * columns + c];
      for (int64_t j = i; j < end; ++j)
        sum += ToFloat(w[c * weights.stride + j]) * ToFloat(x[r * (end - i) + j - i]);
      totals[r * columns + c] = sum;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) AddRow<columns>(totals + r * columns, add, &sums[m + r][column]);
}

// A group of `columns` rows of weights from n on.
template <typename S, int tile, int rows>
EYAS_INLINE void DotColumns(const typename S::Value* x, Weights<typename S::Weight> weights, int64_t begin,
                            int64_t end, int64_t m, int64_t n, int64_t columns, GroupSums& sums) {
  constexpr int kColumns = std::min(tile / rows, kTile);
  int64_t c = 0;
  for (; c + kColumns <= columns; c += kColumns) {
    DotTile<S, tile, rows, kColumns>(x, weights, begin, end, begin > 0, m, n + c, c, sums);
  }
  for (; c < columns; ++c) {
    DotTile<S, tile, rows, 1>(x, weights, begin, end, begin > 0, m, n + c, c, sums);
  }
}

template <typename S, int tile>
EYAS_INLINE void DotRange(const typename S::Value* x, int64_t rows, Weights<typename S::Weight> weights,
                          int64_t k, int64_t begin, int64_t end, const RowsOutput& out) {
  static_assert(kBlock % S::kSize == 0);
  for (int64_t n = begin; n < end; n += tile) {
    const int64_t columns = std::min<int64_t>(tile, end - n);
    GroupSums sums;
    for (int64_t from = 0; from < k; from += kBlock) {
      const int64_t to = std::min(from + kBlock, k);
      for (int64_t m = 0; m < rows;) {
        const int64_t count = RowsAtOnce<tile>(rows - m);
        const auto* part = x + m * k;
        switch (count) {
          case 8:
            DotColumns<S, tile, 8>(part, weights, from, to, m, n, columns, sums);
            break;
          case 6:
            if constexpr (tile % 6 == 0) DotColumns<S, tile, 6>(part, weights, from, to, m, n, columns, sums);
            break;
          case 4:
            DotColumns<S, tile, 4>(part, weights, from, to, m, n, columns, sums);
            break;
          case 2:
            DotColumns<S, tile, 2>(part, weights, from, to, m, n, columns, sums);
            break;
          default:
            DotColumns<S, tile, 1>(part, weights, from, to, m, n, columns, sums);
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
                               int64_t end, bool wide, const RowsOutput& out) {
  if (wide) return DotRange<FloatStep, kWideTile>(x, rows, weights, k, begin, end, out);
  DotRange<FloatStep, kTile>(x, rows, weights, k, begin, end, out);
}

EYAS_SIMD_CLONES void DotWidened(const float* x, int64_t rows, Weights<bfloat16> weights, int64_t k,
                                 int64_t begin, int64_t end, bool wide, const RowsOutput& out) {
  if (wide) return DotRange<WidenedStep, kWideTile>(x, rows, weights, k, begin, end, out);
  DotRange<WidenedStep, kTile>(x, rows, weights, k, begin, end, out);
}

__attribute__((target("arch=x86-64-v4,avx512bf16"))) void DotPairs(const bfloat16* x, int64_t rows,
                                                                   Weights<bfloat16> weights, int64_t k,
                                                                   int64_t begin, int64_t end,
                                                                   const RowsOutput& out) {
  DotRange<PairStep, kWideTile>(x, rows, weights, k, begin, end, out);
}

// ---- rows of a

template <typename A>
EYAS_INLINE float Rounded(A value) {
  return ToFloat(ToBFloat16(ToFloat(value)));
}

// A step of one row.
template <typename A>
EYAS_INLINE void PackStep(FloatStep, const A* a, float* out, int64_t) {
  for (int i = 0; i < kLanes; ++i) out[i] = ToFloat(a[i]);
}

template <typename A>
EYAS_INLINE void PackStep(WidenedStep, const A* a, float* out, int64_t vector_stride) {
  for (int i = 0; i < kLanes; ++i) {
    out[i] = Rounded(a[2 * i]);
    out[vector_stride + i] = Rounded(a[2 * i + 1]);
  }
}

template <typename A>
EYAS_INLINE void PackStep(PairStep, const A* a, bfloat16* out, int64_t) {
  for (int i = 0; i < PairStep::kSize; ++i) out[i] = ToBFloat16(ToFloat(a[i]));
}

// Rows of a as DotTile reads them: those that are multiplied together, step by step, each step's vectors side
// by side.
template <typename S, typename A>
EYAS_INLINE void PackRange(Matrix<A> a, int64_t rows, int64_t k, bool wide, typename S::Value* out) {
  constexpr int64_t kInVector = S::kSize / S::kVectors;
  for (int64_t m = 0; m < rows;) {
    const int64_t count = wide ? RowsAtOnce<kWideTile>(rows - m) : RowsAtOnce<kTile>(rows - m);
    int64_t i = 0;
    for (; i + S::kSize <= k; i += S::kSize) {
      for (int64_t r = 0; r < count; ++r) {
        PackStep(S(), a.data + (m + r) * a.stride + i, out + r * kInVector, count * kInVector);
      }
      out += count * S::kSize;
    }
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t j = i; j < k; ++j, ++out) {
        const A value = a.data[(m + r) * a.stride + j];
        if constexpr (std::is_same_v<typename S::Value, bfloat16>) {
          *out = ToBFloat16(ToFloat(value));
        } else if constexpr (std::is_same_v<typename S::Weight, bfloat16>) {
          *out = Rounded(value);
        } else {
          *out = ToFloat(value);
        }
      }
    }
    m += count;
  }
}

EYAS_SIMD_CLONES void PackFloats(Matrix<float> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<FloatStep>(a, rows, k, wide, out);
}

EYAS_SIMD_CLONES void PackWidened(Matrix<float> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<WidenedStep>(a, rows, k, wide, out);
}

EYAS_SIMD_CLONES void PackWidened(Matrix<bfloat16> a, int64_t rows, int64_t k, bool wide, float* out) {
  PackRange<WidenedStep>(a, rows, k, wide, out);
}

EYAS_SIMD_CLONES void PackPairs(Matrix<float> a, int64_t rows, int64_t k, bfloat16* out) {
  PackRange<PairStep>(a, rows, k, true, out);
}

EYAS_SIMD_CLONES void PackPairs(Matrix<bfloat16> a, int64_t rows, int64_t k, bfloat16* out) {
  PackRange<PairStep>(a, rows, k, true, out);
}

enum class Products { kFloat, kWidened, kPairs };

// What multiplies by transposed weights.
struct Kernel {
  Products products;
  // Whether there are 32 vector registers.
  bool wide;

  explicit Kernel(DType weights) {
    static const bool v4 = __builtin_cpu_supports("x86-64-v4");
    static const bool pairs = v4 && __builtin_cpu_supports("avx512bf16");
    wide = v4;
    products = weights == DType::kFloat32 ? Products::kFloat : pairs ? Products::kPairs : Products::kWidened;
  }
};

// Of short rows so many bytes lie ahead, of long ones a group of rows, of which a block is read at a time.
constexpr int64_t kAheadBytes = 12 << 10;

// Rows of a [rows, k], of either type, by the transpose of b [n, k].
struct RowsProduct {
  const void* a;
  DType a_type;
  int64_t a_stride;
  int64_t rows;
  const void* b;
  DType b_type;
  int64_t b_stride;
  int64_t n;
  int64_t k;
};

template <typename W>
Weights<W> WeightsOf(const RowsProduct& p, bool wide) {
  const int64_t group = (wide ? kWideTile : kTile) * p.b_stride;
  const int64_t ahead = p.k > kBlock ? group : kAheadBytes / static_cast<int64_t>(sizeof(W));
  return {static_cast<const W*>(p.b), p.b_stride, ahead};
}

template <typename A>
Matrix<A> RowsOf(const RowsProduct& p) {
  return {static_cast<const A*>(p.a), p.a_stride};
}

// Packed rows; few and short ones need no memory from elsewhere.
class PackedRows {
 public:
  PackedRows(const RowsProduct& p, const Kernel& kernel) {
    const bool floats = p.a_type == DType::kFloat32;
    if (kernel.products == Products::kFloat && p.rows == 1) {
      data_ = p.a;
    } else if (kernel.products == Products::kFloat) {
      PackFloats(RowsOf<float>(p), p.rows, p.k, kernel.wide, Reserve<float>(p));
    } else if (kernel.products == Products::kPairs) {
      bfloat16* out = Reserve<bfloat16>(p);
      if (floats) PackPairs(RowsOf<float>(p), p.rows, p.k, out);
      if (!floats) PackPairs(RowsOf<bfloat16>(p), p.rows, p.k, out);
    } else {
      float* out = Reserve<float>(p);
      if (floats) PackWidened(RowsOf<float>(p), p.rows, p.k, kernel.wide, out);
      if (!floats) PackWidened(RowsOf<bfloat16>(p), p.rows, p.k, kernel.wide, out);
    }
  }

  template <typename T>
  const T* data() const {
    return static_cast<const T*>(data_);
  }

 private:
  template <typename T>
  T* Reserve(const RowsProduct& p) {
    const size_t bytes = static_cast<size_t>(p.rows * p.k) * sizeof(T);
    if (bytes > sizeof(near_)) far_ = Tensor({p.rows, p.k}, DTypeOf<T>::value);
    void* out = bytes > sizeof(near_) ? far_.raw() : near_;
    data_ = out;
    return static_cast<T*>(out);
  }

  const void* data_;
  Tensor far_;
  alignas(64) char near_[16 << 10];
};

void Multiply(const RowsProduct& p, const RowsOutput& out) {
  const Kernel kernel(p.b_type);
  const PackedRows x(p, kernel);
  ParallelFor(p.n, ColumnCost(p.rows, p.k), [&](int64_t begin, int64_t end) {
    switch (kernel.products) {
      case Products::kFloat:
        return DotFloat(x.data<float>(), p.rows, WeightsOf<float>(p, kernel.wide), p.k, begin, end,
                        kernel.wide, out);
      case Products::kWidened:
        return DotWidened(x.data<float>(), p.rows, WeightsOf<bfloat16>(p, kernel.wide), p.k, begin, end,
                          kernel.wide, out);
      case Products::kPairs:
        return DotPairs(x.data<bfloat16>(), p.rows, WeightsOf<bfloat16>(p, true), p.k, begin, end, out);
    }
  });
}

}  // namespace

void GemmRows(const GemmProblem& problem) {
  const Tensor& b = problem.b;
  const RowsOutput out = {problem.out.data<float>(), problem.out.stride(0), problem.bias, problem.accumulate};
  if (b.stride(0) != 1) return MultiplyPlain(problem, out);
  const Tensor a = problem.a.ContiguousFrom(1) ? problem.a : Contiguous(problem.a);
  Multiply({a.raw(), a.dtype(), a.stride(0), a.dim(0), b.raw(), b.dtype(), b.stride(1), b.dim(1), b.dim(0)},
           out);
}

void MultiplyRows(const float* x, int64_t rows, const Tensor& weight, const float* bias, float* out,
                  bool accumulate) {
  const int64_t n = weight.dim(0), k = weight.dim(1);
  Multiply({x, DType::kFloat32, k, rows, weight.raw(), weight.dtype(), k, n, k}, {out, n, bias, accumulate});
}

}  // namespace eyas::cpu
