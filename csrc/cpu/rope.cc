#include "cpu/rope.h"

#include <cmath>

#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

EYAS_SIMD_CLONES void RopeRange(const RopeProblem& p, int64_t begin, int64_t end, float* result) {
  const int64_t pairs = p.frequencies;
  const float sign = p.inverse ? -1.0f : 1.0f;
  for (int64_t row = begin; row < end; ++row) {
    const float* cos = p.cos + row * pairs;
    const float* sin = p.sin + row * pairs;
    for (int64_t head = 0; head < p.heads; ++head) {
      const float* x = p.x + row * p.x_stride + head * p.head_size;
      float* __restrict out = result + (row * p.heads + head) * p.head_size;
      for (int64_t j = 0; j < pairs; ++j) {
        const float s = sign * sin[j];
        out[j] = x[j] * cos[j] - x[j + pairs] * s;
        out[j + pairs] = x[j + pairs] * cos[j] + x[j] * s;
      }
      for (int64_t j = 2 * pairs; j < p.head_size; ++j) out[j] = x[j];
    }
  }
}

}  // namespace

void MakeRopeTables(const RopeTableProblem& p, float* cos, float* sin) {
  ParallelFor(p.n, 40 * p.frequencies, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t f = 0; f < p.frequencies; ++f) {
        const float position = p.positions[p.axis_of[f] * p.n + row] + p.offset;
        const double angle = position * p.inverse_frequencies[f];
        cos[row * p.frequencies + f] = static_cast<float>(std::cos(angle)) * p.scaling;
        sin[row * p.frequencies + f] = static_cast<float>(std::sin(angle)) * p.scaling;
      }
    }
  });
}

void Rope(const RopeProblem& problem, float* out) {
  ParallelFor(problem.n, problem.heads * problem.head_size,
              [&](int64_t begin, int64_t end) { RopeRange(problem, begin, end, out); });
}

}  // namespace eyas::cpu
