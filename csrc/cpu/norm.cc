#include "cpu/norm.h"

#include <cmath>
#include <cstring>

#include "core/dtype.h"
#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

EYAS_INLINE float InverseRms(const float* x, int64_t h, float eps) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < h; ++i) squares += x[i] * x[i];
  return 1.0f / std::sqrt(squares / static_cast<float>(h) + eps);
}

EYAS_SIMD_CLONES void RmsNormRange(int64_t n, int64_t h, const float* x, const float* weight, float eps,
                                   float* out) {
  for (int64_t row = 0; row < n; ++row, x += h, out += h) {
    const float scale = InverseRms(x, h, eps);
    if (weight == nullptr) {
      for (int64_t i = 0; i < h; ++i) out[i] = x[i] * scale;
    } else {
      for (int64_t i = 0; i < h; ++i) out[i] = x[i] * scale * weight[i];
    }
  }
}

template <typename T>
EYAS_INLINE void FoldedNormColumns(Rows rows, const float* g, const T* weight, int64_t weight_stride,
                                   const float* norm, float* __restrict dweight, int64_t dweight_stride,
                                   float* __restrict dnorm, int64_t begin, int64_t end) {
  for (int64_t row = 0; row < rows.n; ++row) {
    for (int64_t i = begin; i < end; ++i) {
      dweight[i] += g[i] * norm[i];
      dnorm[i] += g[i] * ToFloat(weight[i]);
    }
    g += rows.h;
    weight += weight_stride;
    dweight += dweight_stride;
  }
}

EYAS_SIMD_CLONES void FoldedNormColumnsOf(Rows rows, const float* g, const float* weight,
                                          int64_t weight_stride, const float* norm, float* dweight,
                                          int64_t dweight_stride, float* dnorm, int64_t begin, int64_t end) {
  FoldedNormColumns(rows, g, weight, weight_stride, norm, dweight, dweight_stride, dnorm, begin, end);
}

EYAS_SIMD_CLONES void FoldedNormColumnsOf(Rows rows, const float* g, const bfloat16* weight,
                                          int64_t weight_stride, const float* norm, float* dweight,
                                          int64_t dweight_stride, float* dnorm, int64_t begin, int64_t end) {
  FoldedNormColumns(rows, g, weight, weight_stride, norm, dweight, dweight_stride, dnorm, begin, end);
}

// With r = rsqrt(mean(x²) + eps): dx = r·(w·dy) − x·r³·mean(w·dy·x); dweight += dy·x·r.
EYAS_SIMD_CLONES void RmsNormBackwardRange(int64_t n, int64_t h, const float* dy, const float* x,
                                           const float* weight, float eps, float* __restrict dx,
                                           float* __restrict dweight) {
  for (int64_t row = 0; row < n; ++row, dy += h, x += h, dx += h) {
    const float scale = InverseRms(x, h, eps);
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < h; ++i) dot += dy[i] * weight[i] * x[i];
    const float pull = dot * scale * scale * scale / static_cast<float>(h);
    for (int64_t i = 0; i < h; ++i) dx[i] = dy[i] * weight[i] * scale - x[i] * pull;
    if (dweight == nullptr) continue;
    for (int64_t i = 0; i < h; ++i) dweight[i] += dy[i] * x[i] * scale;
  }
}

struct Moments {
  float mean;
  float scale;  // rsqrt(variance + eps)
};

EYAS_INLINE Moments RowMoments(const float* x, int64_t h, float eps) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < h; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(h);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < h; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(h) + eps)};
}

EYAS_SIMD_CLONES void LayerNormRange(int64_t n, int64_t h, const float* x, const float* weight,
                                     const float* bias, float eps, float* out) {
  for (int64_t row = 0; row < n; ++row, x += h, out += h) {
    const Moments m = RowMoments(x, h, eps);
    for (int64_t i = 0; i < h; ++i) out[i] = (x[i] - m.mean) * m.scale * weight[i];
    if (bias == nullptr) continue;
    for (int64_t i = 0; i < h; ++i) out[i] += bias[i];
  }
}

// With z the normalised row and g = w·dy: dx = scale·(g − mean(g) − z·mean(g·z)).
EYAS_SIMD_CLONES void LayerNormBackwardRange(int64_t n, int64_t h, const float* dy, const float* x,
                                             const float* weight, float eps, float* __restrict dx,
                                             float* __restrict dweight, float* __restrict dbias) {
  for (int64_t row = 0; row < n; ++row, dy += h, x += h, dx += h) {
    const Moments m = RowMoments(x, h, eps);
    float sum = 0;
    float dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t i = 0; i < h; ++i) {
      sum += dy[i] * weight[i];
      dot += dy[i] * weight[i] * (x[i] - m.mean);
    }
    const float mean = sum / static_cast<float>(h);
    const float pull = dot * m.scale * m.scale / static_cast<float>(h);
    for (int64_t i = 0; i < h; ++i) {
      dx[i] = m.scale * (dy[i] * weight[i] - mean - (x[i] - m.mean) * pull);
    }
    if (dweight != nullptr) {
      for (int64_t i = 0; i < h; ++i) dweight[i] += dy[i] * (x[i] - m.mean) * m.scale;
    }
    if (dbias != nullptr) {
      for (int64_t i = 0; i < h; ++i) dbias[i] += dy[i];
    }
  }
}

// Runs body(begin, end, partials) on parts of the rows, where partials are `count` zeroed vectors of h, one
// set a part, and adds them to targets[i] in the order of the parts.
template <int count, typename Body>
void WithPartials(Rows rows, float* const (&targets)[count], const Body& body) {
  const int64_t parts = PartCount(rows.n, 4 * rows.h);
  const Tensor sums = Tensor::Zeros({parts, count, rows.h}, DType::kFloat32);
  ParallelParts(rows.n, parts, [&](int64_t part, int64_t begin, int64_t end) {
    body(begin, end, sums.data<float>() + part * count * rows.h);
  });
  for (int64_t part = 0; part < parts; ++part) {
    for (int i = 0; i < count; ++i) {
      if (targets[i] == nullptr) continue;
      const float* partial = sums.data<float>() + (part * count + i) * rows.h;
      for (int64_t j = 0; j < rows.h; ++j) targets[i][j] += partial[j];
    }
  }
}

}  // namespace

void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out) {
  ParallelFor(rows.n, 2 * rows.h, [&](int64_t begin, int64_t end) {
    RmsNormRange(end - begin, rows.h, x + begin * rows.h, weight, eps, out + begin * rows.h);
  });
}

void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                     float* dweight) {
  WithPartials(rows, {dweight}, [&](int64_t begin, int64_t end, float* partials) {
    const int64_t offset = begin * rows.h;
    RmsNormBackwardRange(end - begin, rows.h, dy + offset, x + offset, weight, eps, dx + offset,
                         dweight == nullptr ? nullptr : partials);
  });
}

template <typename T>
void FoldedNormBackward(Rows rows, const float* g, const T* weight, int64_t weight_stride, const float* norm,
                        float* dweight, int64_t dweight_stride, float* dnorm) {
  // Threads take columns, so that each sum is in the order of the rows.
  ParallelFor(rows.h, 2 * rows.n, [&](int64_t begin, int64_t end) {
    FoldedNormColumnsOf(rows, g, weight, weight_stride, norm, dweight, dweight_stride, dnorm, begin, end);
  });
}

template void FoldedNormBackward(Rows, const float*, const float*, int64_t, const float*, float*, int64_t,
                                 float*);
template void FoldedNormBackward(Rows, const float*, const bfloat16*, int64_t, const float*, float*, int64_t,
                                 float*);

void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps, float* out) {
  ParallelFor(rows.n, 2 * rows.h, [&](int64_t begin, int64_t end) {
    LayerNormRange(end - begin, rows.h, x + begin * rows.h, weight, bias, eps, out + begin * rows.h);
  });
}

void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight, float* dbias) {
  WithPartials(rows, {dweight, dbias}, [&](int64_t begin, int64_t end, float* partials) {
    const int64_t offset = begin * rows.h;
    LayerNormBackwardRange(end - begin, rows.h, dy + offset, x + offset, weight, eps, dx + offset,
                           dweight == nullptr ? nullptr : partials,
                           dbias == nullptr ? nullptr : partials + rows.h);
  });
}

}  // namespace eyas::cpu
