#include "cpu/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

// Elements of a piece of work: all the arrays of a piece together stay in the first-level cache.
constexpr int64_t kPiece = 2048;
constexpr int64_t kNormCost = 2;
constexpr int64_t kAdamWCost = 16;

struct Piece {
  size_t array;
  int64_t begin;
  int64_t count;
};

template <typename Array>
std::vector<Piece> MakePieces(const std::vector<Array>& arrays) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < arrays.size(); ++i) {
    for (int64_t begin = 0; begin < arrays[i].size; begin += kPiece) {
      pieces.push_back({i, begin, std::min(kPiece, arrays[i].size - begin)});
    }
  }
  return pieces;
}

EYAS_SIMD_CLONES double SumOfSquares(const float* x, int64_t n) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// The constants of a step, rounded once: rest1 and rest2 are 1 − β, keep is 1 − lr · weight decay.
struct AdamWFactors {
  float grad_scale, rest1, rest2, keep, step_size, root_correction, eps;
};

EYAS_SIMD_CLONES void UpdatePiece(float* __restrict param, const float* __restrict grad, float* __restrict m,
                                  float* __restrict v, int64_t n, const AdamWFactors& factors) {
  const AdamWFactors f = factors;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * f.grad_scale;
    m[i] += (g - m[i]) * f.rest1;
    v[i] += (g * g - v[i]) * f.rest2;
    param[i] = param[i] * f.keep - f.step_size * m[i] / (std::sqrt(v[i]) * f.root_correction + f.eps);
  }
}

EYAS_SIMD_CLONES void RoundPiece(const float* __restrict from, bfloat16* __restrict to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = ToBFloat16(from[i]);
}

}  // namespace

double EuclideanNorm(const std::vector<FloatArray>& arrays) {
  const std::vector<Piece> pieces = MakePieces(arrays);
  std::vector<double> sums(pieces.size());
  ParallelFor(static_cast<int64_t>(pieces.size()), kPiece * kNormCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      sums[i] = SumOfSquares(arrays[pieces[i].array].data + pieces[i].begin, pieces[i].count);
    }
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step) {
  const double count = static_cast<double>(step.step);
  const AdamWFactors factors{static_cast<float>(step.grad_scale),
                             static_cast<float>(1.0 - step.beta1),
                             static_cast<float>(1.0 - step.beta2),
                             static_cast<float>(1.0 - step.lr * step.weight_decay),
                             static_cast<float>(step.lr / (1.0 - std::pow(step.beta1, count))),
                             static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(step.beta2, count))),
                             static_cast<float>(step.eps)};
  const std::vector<Piece> pieces = MakePieces(tensors);
  ParallelFor(static_cast<int64_t>(pieces.size()), kPiece * kAdamWCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[i];
      const AdamWTensor& tensor = tensors[piece.array];
      float* param = tensor.param + piece.begin;
      UpdatePiece(param, tensor.grad + piece.begin, tensor.m + piece.begin, tensor.v + piece.begin,
                  piece.count, factors);
      if (tensor.copy != nullptr) std::copy(param, param + piece.count, tensor.copy + piece.begin);
      if (tensor.rounded_copy != nullptr) RoundPiece(param, tensor.rounded_copy + piece.begin, piece.count);
    }
  });
}

}  // namespace eyas::cpu
