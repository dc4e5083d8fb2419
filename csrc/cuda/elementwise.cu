#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// ---- activations: value and derivative

__device__ __forceinline__ float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

struct Silu {
  static __device__ __forceinline__ float Value(float x) { return x * Sigmoid(x); }
  static __device__ __forceinline__ float Derivative(float x) {
    const float s = Sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};

struct Gelu {
  static __device__ __forceinline__ float Value(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.707106781f));
  }
  static __device__ __forceinline__ float Derivative(float x) {
    const float density = 0.398942280f * expf(-0.5f * x * x);
    return 0.5f * (1.0f + erff(x * 0.707106781f)) + x * density;
  }
};

struct GeluTanh {
  static constexpr float kScale = 0.797884561f;  // sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  static __device__ __forceinline__ float Value(float x) {
    return 0.5f * x * (1.0f + tanhf(kScale * (x + kCubic * x * x * x)));
  }
  static __device__ __forceinline__ float Derivative(float x) {
    const float t = tanhf(kScale * (x + kCubic * x * x * x));
    const float slope = kScale * (1.0f + 3.0f * kCubic * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
  }
};

struct QuickGelu {
  static constexpr float kScale = 1.702f;
  static __device__ __forceinline__ float Value(float x) { return x * Sigmoid(kScale * x); }
  static __device__ __forceinline__ float Derivative(float x) {
    const float s = Sigmoid(kScale * x);
    return s * (1.0f + kScale * x * (1.0f - s));
  }
};

// Calls body with the activation's type.
template <typename Body>
void WithActivation(Activation kind, const Body& body) {
  switch (kind) {
    case Activation::kSilu:
      return body(Silu());
    case Activation::kGelu:
      return body(Gelu());
    case Activation::kGeluTanh:
      return body(GeluTanh());
    case Activation::kQuickGelu:
      return body(QuickGelu());
  }
}

// ---- kernels: one thread goes from element to element, a grid apart

struct AddElements {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
struct MultiplyElements {
  __device__ __forceinline__ float operator()(float a, float b) const { return a * b; }
};
struct AddScaledElements {
  float alpha;
  __device__ __forceinline__ float operator()(float a, float b) const { return a + alpha * b; }
};

__device__ __forceinline__ int64_t FirstElement() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t ElementStep() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Four elements at a time, then the rest; pointers are aligned to 16 bytes.
template <typename Operation>
__global__ void BinaryKernel(const float* a, const float* b, float* out, int64_t n, Operation operation) {
  const int64_t fours = n / 4;
  for (int64_t i = FirstElement(); i < fours; i += ElementStep()) {
    const float4 x = reinterpret_cast<const float4*>(a)[i], y = reinterpret_cast<const float4*>(b)[i];
    reinterpret_cast<float4*>(out)[i] =
        make_float4(operation(x.x, y.x), operation(x.y, y.y), operation(x.z, y.z), operation(x.w, y.w));
  }
  for (int64_t i = 4 * fours + FirstElement(); i < n; i += ElementStep()) out[i] = operation(a[i], b[i]);
}

template <typename Operation>
__global__ void BinaryPlainKernel(const float* a, const float* b, float* out, int64_t n,
                                  Operation operation) {
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) out[i] = operation(a[i], b[i]);
}

bool Aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <typename Operation>
void Binary(const float* a, const float* b, float* out, int64_t n, Operation operation) {
  if (Aligned(a) && Aligned(b) && Aligned(out)) {
    Launch(ForElements(CeilDiv(n, 4)), BinaryKernel<Operation>, a, b, out, n, operation);
  } else {
    Launch(ForElements(n), BinaryPlainKernel<Operation>, a, b, out, n, operation);
  }
}

__global__ void ScaleKernel(float* a, float factor, int64_t n) {
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) a[i] *= factor;
}

__global__ void MultiplyRowsKernel(const float* a, const float* b, float* out, int64_t n, int64_t width) {
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) out[i] = a[i] * b[i % width];
}

template <typename Act>
__global__ void ActivateKernel(const float* x, float* out, int64_t n) {
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) out[i] = Act::Value(x[i]);
}

template <typename Act>
__global__ void GatedKernel(GatedRows in, float* out) {
  const int64_t n = in.rows * in.width;
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) {
    const int64_t row = i / in.width, column = i % in.width;
    out[i] = Act::Value(in.gate[row * in.gate_stride + column]) * in.up[row * in.up_stride + column];
  }
}

template <typename Act>
__global__ void GatedBackwardKernel(GatedRows in, const float* dy, float* dgate, float* dup,
                                    int64_t out_stride) {
  const int64_t n = in.rows * in.width;
  for (int64_t i = FirstElement(); i < n; i += ElementStep()) {
    const int64_t row = i / in.width, column = i % in.width;
    const float gate = in.gate[row * in.gate_stride + column], up = in.up[row * in.up_stride + column];
    dgate[row * out_stride + column] = dy[i] * up * Act::Derivative(gate);
    dup[row * out_stride + column] = dy[i] * Act::Value(gate);
  }
}

}  // namespace

void Add(const float* a, const float* b, float* out, int64_t n) { Binary(a, b, out, n, AddElements()); }

void AddScaled(float* a, const float* b, float alpha, int64_t n) {
  Binary(a, b, a, n, AddScaledElements{alpha});
}

void Scale(float* a, float factor, int64_t n) { Launch(ForElements(n), ScaleKernel, a, factor, n); }

void Multiply(const float* a, const float* b, float* out, int64_t n) {
  Binary(a, b, out, n, MultiplyElements());
}

void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width) {
  Launch(ForElements(rows * width), MultiplyRowsKernel, a, b, out, rows * width, width);
}

void Activate(const float* x, Activation kind, float* out, int64_t n) {
  WithActivation(kind, [&](auto act) { Launch(ForElements(n), ActivateKernel<decltype(act)>, x, out, n); });
}

void GatedActivation(const GatedRows& in, Activation kind, float* out) {
  WithActivation(
      kind, [&](auto act) { Launch(ForElements(in.rows * in.width), GatedKernel<decltype(act)>, in, out); });
}

void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate, float* dup,
                             int64_t out_stride) {
  WithActivation(kind, [&](auto act) {
    Launch(ForElements(in.rows * in.width), GatedBackwardKernel<decltype(act)>, in, dy, dgate, dup,
           out_stride);
  });
}

}  // namespace eyas::cuda
