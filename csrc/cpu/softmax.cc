#include "cpu/softmax.h"

#include <limits>

#include "core/parallel.h"
#include "cpu/simd.h"
#include "cpu/vec_math.h"

namespace eyas::cpu {

namespace {

EYAS_SIMD_CLONES void SoftmaxRange(int64_t n, int64_t h, const float* x, float* out) {
  for (int64_t row = 0; row < n; ++row, x += h, out += h) {
    float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < h; ++i) largest = x[i] > largest ? x[i] : largest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < h; ++i) {
      out[i] = Exp(x[i] - largest);
      sum += out[i];
    }
    const float scale = 1.0f / sum;
    for (int64_t i = 0; i < h; ++i) out[i] *= scale;
  }
}

EYAS_SIMD_CLONES void SoftmaxBackwardRange(int64_t n, int64_t h, const float* dy, const float* y, float* dx) {
  for (int64_t row = 0; row < n; ++row, dy += h, y += h, dx += h) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < h; ++i) dot += dy[i] * y[i];
    for (int64_t i = 0; i < h; ++i) dx[i] = y[i] * (dy[i] - dot);
  }
}

}  // namespace

void Softmax(int64_t n, int64_t h, const float* x, float* out) {
  ParallelFor(n, 16 * h, [&](int64_t begin, int64_t end) {
    SoftmaxRange(end - begin, h, x + begin * h, out + begin * h);
  });
}

void SoftmaxBackward(int64_t n, int64_t h, const float* dy, const float* y, float* dx) {
  ParallelFor(n, h, [&](int64_t begin, int64_t end) {
    SoftmaxBackwardRange(end - begin, h, dy + begin * h, y + begin * h, dx + begin * h);
  });
}

}  // namespace eyas::cpu
