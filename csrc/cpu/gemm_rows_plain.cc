#include "core/ops.h"
#include "core/parallel.h"
#include "cpu/gemm_rows.h"

// Each element of the result is a sum over the rows of b, in their order.

namespace eyas::cpu {

namespace {

EYAS_INLINE void LoadLanes(const float* source, Lanes* out) { std::memcpy(out, source, sizeof(Lanes)); }

EYAS_INLINE void LoadLanes(const bfloat16* source, Lanes* out) {
  HalfLanes halves;
  std::memcpy(&halves, source, sizeof(halves));
  const WordLanes words = __builtin_convertvector(halves, WordLanes) << 16;
  std::memcpy(out, &words, sizeof(Lanes));
}

template <typename B, int rows>
EYAS_INLINE void SumTile(Matrix<float> a, Matrix<B> b, int64_t k, int64_t m, int64_t begin, int64_t end,
                         const RowsOutput& out) {
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
                          const RowsOutput& out) {
  int64_t m = 0;
  for (; m + 8 <= rows; m += 8) SumTile<B, 8>(a, b, k, m, begin, end, out);
  for (; m + 4 <= rows; m += 4) SumTile<B, 4>(a, b, k, m, begin, end, out);
  for (; m < rows; ++m) SumTile<B, 1>(a, b, k, m, begin, end, out);
}

EYAS_SIMD_CLONES void SumFloat(Matrix<float> a, int64_t rows, Matrix<float> b, int64_t k, int64_t begin,
                               int64_t end, const RowsOutput& out) {
  SumRange(a, rows, b, k, begin, end, out);
}

EYAS_SIMD_CLONES void SumBFloat16(Matrix<float> a, int64_t rows, Matrix<bfloat16> b, int64_t k, int64_t begin,
                                  int64_t end, const RowsOutput& out) {
  SumRange(a, rows, b, k, begin, end, out);
}

}  // namespace

void MultiplyPlain(const GemmProblem& problem, const RowsOutput& out) {
  const Tensor& b = problem.b;
  const int64_t rows = problem.a.dim(0), k = b.dim(0);
  const Tensor rounded = problem.a.dtype() == b.dtype() ? problem.a : Cast(problem.a, b.dtype());
  const Tensor a = rounded.dtype() == DType::kFloat32 ? Contiguous(rounded) : Cast(rounded, DType::kFloat32);
  const Matrix<float> values = {a.data<float>(), k};
  ParallelFor(b.dim(1), ColumnCost(rows, k), [&](int64_t begin, int64_t end) {
    if (b.dtype() == DType::kFloat32) {
      SumFloat(values, rows, Matrix<float>{b.data<float>(), b.stride(0)}, k, begin, end, out);
    } else {
      SumBFloat16(values, rows, Matrix<bfloat16>{b.data<bfloat16>(), b.stride(0)}, k, begin, end, out);
    }
  });
}

}  // namespace eyas::cpu
