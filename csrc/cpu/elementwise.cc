#include "cpu/elementwise.h"

#include "core/parallel.h"
#include "cpu/simd.h"
#include "cpu/vec_math.h"

namespace eyas::cpu {

namespace {

// Scalar operations of one activation, for the split over threads.
constexpr int64_t kActivationCost = 4;

EYAS_SIMD_CLONES void AddRange(const float* a, const float* b, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

EYAS_SIMD_CLONES void AddScaledRange(float* a, const float* b, float alpha, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] += alpha * b[i];
}

EYAS_SIMD_CLONES void ScaleRange(float* a, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] *= factor;
}

EYAS_SIMD_CLONES void MultiplyRange(const float* a, const float* b, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

// Value and derivative of the activations.
struct Silu {
  static EYAS_INLINE float Value(float x) { return x * Sigmoid(x); }
  static EYAS_INLINE float Derivative(float x) {
    const float s = Sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};

struct Gelu {
  static EYAS_INLINE float Value(float x) { return 0.5f * x * (1.0f + Erf(x * 0.707106781f)); }
  static EYAS_INLINE float Derivative(float x) {
    const float density = 0.398942280f * Exp(-0.5f * x * x);
    return 0.5f * (1.0f + Erf(x * 0.707106781f)) + x * density;
  }
};

struct GeluTanh {
  static constexpr float kScale = 0.797884561f;  // sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  static EYAS_INLINE float Value(float x) {
    return 0.5f * x * (1.0f + Tanh(kScale * (x + kCubic * x * x * x)));
  }
  static EYAS_INLINE float Derivative(float x) {
    const float t = Tanh(kScale * (x + kCubic * x * x * x));
    const float slope = kScale * (1.0f + 3.0f * kCubic * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
  }
};

struct QuickGelu {
  static constexpr float kScale = 1.702f;
  static EYAS_INLINE float Value(float x) { return x * Sigmoid(kScale * x); }
  static EYAS_INLINE float Derivative(float x) {
    const float s = Sigmoid(kScale * x);
    return s * (1.0f + kScale * x * (1.0f - s));
  }
};

template <typename Act>
EYAS_INLINE void ActivateLoop(const float* x, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = Act::Value(x[i]);
}

template <typename Act>
EYAS_INLINE void GatedLoop(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = Act::Value(gate[i]) * up[i];
}

template <typename Act>
EYAS_INLINE void GatedBackwardLoop(const float* dy, const float* gate, const float* up,
                                   float* __restrict dgate, float* __restrict dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    dgate[i] = dy[i] * up[i] * Act::Derivative(gate[i]);
    dup[i] = dy[i] * Act::Value(gate[i]);
  }
}

EYAS_SIMD_CLONES void ActivateRange(const float* x, Activation kind, float* out, int64_t n) {
  switch (kind) {
    case Activation::kSilu:
      return ActivateLoop<Silu>(x, out, n);
    case Activation::kGelu:
      return ActivateLoop<Gelu>(x, out, n);
    case Activation::kGeluTanh:
      return ActivateLoop<GeluTanh>(x, out, n);
    case Activation::kQuickGelu:
      return ActivateLoop<QuickGelu>(x, out, n);
  }
}

EYAS_SIMD_CLONES void GatedRow(const float* gate, const float* up, Activation kind, float* out, int64_t n) {
  switch (kind) {
    case Activation::kSilu:
      return GatedLoop<Silu>(gate, up, out, n);
    case Activation::kGelu:
      return GatedLoop<Gelu>(gate, up, out, n);
    case Activation::kGeluTanh:
      return GatedLoop<GeluTanh>(gate, up, out, n);
    case Activation::kQuickGelu:
      return GatedLoop<QuickGelu>(gate, up, out, n);
  }
}

EYAS_SIMD_CLONES void GatedBackwardRow(const float* dy, const float* gate, const float* up, Activation kind,
                                       float* dgate, float* dup, int64_t n) {
  switch (kind) {
    case Activation::kSilu:
      return GatedBackwardLoop<Silu>(dy, gate, up, dgate, dup, n);
    case Activation::kGelu:
      return GatedBackwardLoop<Gelu>(dy, gate, up, dgate, dup, n);
    case Activation::kGeluTanh:
      return GatedBackwardLoop<GeluTanh>(dy, gate, up, dgate, dup, n);
    case Activation::kQuickGelu:
      return GatedBackwardLoop<QuickGelu>(dy, gate, up, dgate, dup, n);
  }
}

}  // namespace

void Add(const float* a, const float* b, float* out, int64_t n) {
  ParallelFor(n, 1,
              [&](int64_t begin, int64_t end) { AddRange(a + begin, b + begin, out + begin, end - begin); });
}

void AddScaled(float* a, const float* b, float alpha, int64_t n) {
  ParallelFor(n, 1,
              [&](int64_t begin, int64_t end) { AddScaledRange(a + begin, b + begin, alpha, end - begin); });
}

void Scale(float* a, float factor, int64_t n) {
  ParallelFor(n, 1, [&](int64_t begin, int64_t end) { ScaleRange(a + begin, factor, end - begin); });
}

void Multiply(const float* a, const float* b, float* out, int64_t n) {
  ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    MultiplyRange(a + begin, b + begin, out + begin, end - begin);
  });
}

void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width) {
  ParallelFor(rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) MultiplyRange(a + i * width, b, out + i * width, width);
  });
}

void Activate(const float* x, Activation kind, float* out, int64_t n) {
  ParallelFor(n, kActivationCost,
              [&](int64_t begin, int64_t end) { ActivateRange(x + begin, kind, out + begin, end - begin); });
}

void GatedActivation(const GatedRows& in, Activation kind, float* out) {
  ParallelFor(in.rows, in.width * kActivationCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      GatedRow(in.gate + i * in.gate_stride, in.up + i * in.up_stride, kind, out + i * in.width, in.width);
    }
  });
}

void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate, float* dup,
                             int64_t out_stride) {
  ParallelFor(in.rows, in.width * 2 * kActivationCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      GatedBackwardRow(dy + i * in.width, in.gate + i * in.gate_stride, in.up + i * in.up_stride, kind,
                       dgate + i * out_stride, dup + i * out_stride, in.width);
    }
  });
}

}  // namespace eyas::cpu
