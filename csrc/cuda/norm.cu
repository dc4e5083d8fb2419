#include <algorithm>

#include "cuda/device/bf16.cuh"
#include "cuda/device/reduce.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// Rows up to here belong to one warp each, longer ones to a block.
constexpr int64_t kWarpWidth = 1024;
constexpr unsigned kWarpsPerBlock = 8;

// The threads that share a row, the row's number and their sums.
struct WarpRow {
  static constexpr unsigned kBlock = kWarpsPerBlock * kWarpLanes;
  static __device__ __forceinline__ int64_t First() {
    return static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarpLanes;
  }
  static __device__ __forceinline__ int64_t Step() {
    return static_cast<int64_t>(gridDim.x) * kWarpsPerBlock;
  }
  static __device__ __forceinline__ int64_t Thread() { return threadIdx.x % kWarpLanes; }
  static constexpr int64_t kThreadsOfRow = kWarpLanes;
  static __device__ __forceinline__ float Sum(float x, float*) { return WarpReduce(x, SumOf()); }
  static int64_t Blocks(int64_t rows) { return CeilDiv(rows, kWarpsPerBlock); }
};

struct BlockRow {
  static constexpr unsigned kBlock = kThreads;
  static __device__ __forceinline__ int64_t First() { return blockIdx.x; }
  static __device__ __forceinline__ int64_t Step() { return gridDim.x; }
  static __device__ __forceinline__ int64_t Thread() { return threadIdx.x; }
  static constexpr int64_t kThreadsOfRow = kThreads;
  static __device__ __forceinline__ float Sum(float x, float* shared) {
    return BlockReduce(x, SumOf(), shared);
  }
  static int64_t Blocks(int64_t rows) { return rows; }
};

// Calls body with who takes a row.
template <typename Body>
void ByWidth(int64_t h, const Body& body) {
  if (h <= kWarpWidth) return body(WarpRow());
  return body(BlockRow());
}

template <typename By>
LaunchShape ForRows(int64_t rows) {
  const int64_t blocks = By::Blocks(rows);
  return {dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(By::kBlock)};
}

template <typename By>
__global__ void RmsNormKernel(Rows rows, const float* x, const float* weight, float eps, float* out) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = By::First(); row < rows.n; row += By::Step()) {
    const float* from = x + row * rows.h;
    float squares = 0;
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) squares += from[i] * from[i];
    const float scale = rsqrtf(By::Sum(squares, shared) / static_cast<float>(rows.h) + eps);
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      out[row * rows.h + i] = from[i] * scale * (weight == nullptr ? 1.0f : weight[i]);
    }
  }
}

// dx = r·(w·dy) − x·r³·mean(w·dy·x) with r = rsqrt(mean(x²) + eps); scales [n] receives r for the weight's
// gradient.
template <typename By>
__global__ void RmsNormBackwardKernel(Rows rows, const float* dy, const float* x, const float* weight,
                                      float eps, float* dx, float* scales) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = By::First(); row < rows.n; row += By::Step()) {
    const float *from = x + row * rows.h, *up = dy + row * rows.h;
    float squares = 0, dot = 0;
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      squares += from[i] * from[i];
      dot += up[i] * weight[i] * from[i];
    }
    const float scale = rsqrtf(By::Sum(squares, shared) / static_cast<float>(rows.h) + eps);
    const float pull = By::Sum(dot, shared) * scale * scale * scale / static_cast<float>(rows.h);
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      dx[row * rows.h + i] = up[i] * weight[i] * scale - from[i] * pull;
    }
    if (scales != nullptr && By::Thread() == 0) scales[row] = scale;
  }
}

struct Moments {
  float mean;
  float scale;  // rsqrt(variance + eps)
};

template <typename By>
__device__ __forceinline__ Moments RowMoments(const float* x, int64_t h, float eps, float* shared) {
  float sum = 0;
  for (int64_t i = By::Thread(); i < h; i += By::kThreadsOfRow) sum += x[i];
  const float mean = By::Sum(sum, shared) / static_cast<float>(h);
  float squares = 0;
  for (int64_t i = By::Thread(); i < h; i += By::kThreadsOfRow) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, rsqrtf(By::Sum(squares, shared) / static_cast<float>(h) + eps)};
}

template <typename By>
__global__ void LayerNormKernel(Rows rows, const float* x, const float* weight, const float* bias, float eps,
                                float* out) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = By::First(); row < rows.n; row += By::Step()) {
    const float* from = x + row * rows.h;
    const Moments m = RowMoments<By>(from, rows.h, eps, shared);
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      out[row * rows.h + i] = (from[i] - m.mean) * m.scale * weight[i] + (bias == nullptr ? 0.0f : bias[i]);
    }
  }
}

// With z the normalised row and g = w·dy: dx = scale·(g − mean(g) − z·mean(g·z)).
template <typename By>
__global__ void LayerNormBackwardKernel(Rows rows, const float* dy, const float* x, const float* weight,
                                        float eps, float* dx, Moments* moments) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = By::First(); row < rows.n; row += By::Step()) {
    const float *from = x + row * rows.h, *up = dy + row * rows.h;
    const Moments m = RowMoments<By>(from, rows.h, eps, shared);
    float sum = 0, dot = 0;
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      sum += up[i] * weight[i];
      dot += up[i] * weight[i] * (from[i] - m.mean);
    }
    const float mean = By::Sum(sum, shared) / static_cast<float>(rows.h);
    const float pull = By::Sum(dot, shared) * m.scale * m.scale / static_cast<float>(rows.h);
    for (int64_t i = By::Thread(); i < rows.h; i += By::kThreadsOfRow) {
      dx[row * rows.h + i] = m.scale * (up[i] * weight[i] - mean - (from[i] - m.mean) * pull);
    }
    if (By::Thread() == 0) moments[row] = m;
  }
}

// ---- sums over rows, column by column

// Rows of one block of a sum over rows; the blocks' sums are added in order.
constexpr int64_t kRowsOfPart = 64;

// parts [⌈n/kRowsOfPart⌉, count, h]: each thread sums a column of a part. value(row, column, which) gives the
// addends of `count` sums.
template <int kCount, typename Value>
__global__ void SumRowsKernel(Rows rows, Value value, float* parts) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= rows.h) return;
  for (int64_t part = blockIdx.y; part * kRowsOfPart < rows.n; part += gridDim.y) {
    const int64_t first = part * kRowsOfPart;
    const int64_t last = first + kRowsOfPart < rows.n ? first + kRowsOfPart : rows.n;
    float sums[kCount] = {};
    for (int64_t row = first; row < last; ++row) {
      for (int i = 0; i < kCount; ++i) sums[i] += value(row, column, i);
    }
    for (int i = 0; i < kCount; ++i) parts[(part * kCount + i) * rows.h + column] = sums[i];
  }
}

__global__ void AddPartsKernel(const float* parts, int64_t count, int64_t stride, int64_t h, float* out) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= h) return;
  float sum = 0;
  for (int64_t part = 0; part < count; ++part) sum += parts[part * stride + column];
  out[column] += sum;
}

// targets[i] [h] += Σ over rows of value(row, column, i), for those that are not nullptr.
template <int kCount, typename Value>
void SumRows(Rows rows, const Value& value, float* const (&targets)[kCount]) {
  if (rows.n == 0) return;
  const int64_t count = CeilDiv(rows.n, kRowsOfPart);
  const Scratch parts(count * kCount * rows.h * sizeof(float));
  const auto columns = static_cast<unsigned>(CeilDiv(rows.h, kThreads));
  Launch({dim3(columns, static_cast<unsigned>(std::min(count, kMostBlocksY))), dim3(kThreads)},
         SumRowsKernel<kCount, Value>, rows, value, parts.As<float>());
  for (int i = 0; i < kCount; ++i) {
    if (targets[i] == nullptr) continue;
    Launch({dim3(columns), dim3(kThreads)}, AddPartsKernel, parts.As<float>() + i * rows.h, count,
           kCount * rows.h, rows.h, targets[i]);
  }
}

struct RmsWeightGradient {
  const float* dy;
  const float* x;
  const float* scales;
  int64_t h;
  __device__ __forceinline__ float operator()(int64_t row, int64_t column, int) const {
    return dy[row * h + column] * x[row * h + column] * scales[row];
  }
};

struct LayerWeightGradients {
  const float* dy;
  const float* x;
  const Moments* moments;
  int64_t h;
  __device__ __forceinline__ float operator()(int64_t row, int64_t column, int which) const {
    const float up = dy[row * h + column];
    return which == 0 ? up * (x[row * h + column] - moments[row].mean) * moments[row].scale : up;
  }
};

template <bool kHalf>
struct FoldedNormGradient {
  const float* g;
  const void* weight;
  int64_t weight_stride;
  int64_t h;
  __device__ __forceinline__ float operator()(int64_t row, int64_t column, int) const {
    const int64_t at = row * weight_stride + column;
    const float w =
        kHalf ? FromBf16(static_cast<const uint16_t*>(weight)[at]) : static_cast<const float*>(weight)[at];
    return g[row * h + column] * w;
  }
};

__global__ void AddColumnsScaledKernel(Rows rows, const float* g, const float* norm, float* dweight,
                                       int64_t stride) {
  const int64_t n = rows.n * rows.h, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t row = i / rows.h, column = i % rows.h;
    dweight[row * stride + column] += g[i] * norm[column];
  }
}

}  // namespace

void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out) {
  ByWidth(rows.h, [&](auto by) {
    using By = decltype(by);
    Launch(ForRows<By>(rows.n), RmsNormKernel<By>, rows, x, weight, eps, out);
  });
}

void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                     float* dweight) {
  const Scratch scales(dweight == nullptr ? 0 : rows.n * sizeof(float));
  ByWidth(rows.h, [&](auto by) {
    using By = decltype(by);
    Launch(ForRows<By>(rows.n), RmsNormBackwardKernel<By>, rows, dy, x, weight, eps, dx, scales.As<float>());
  });
  if (dweight != nullptr) {
    SumRows<1>(rows, RmsWeightGradient{dy, x, scales.As<float>(), rows.h}, {dweight});
  }
}

void FoldedNormBackward(Rows rows, const float* g, const Tensor& weight, const float* norm, float* dweight,
                        int64_t dweight_stride, float* dnorm) {
  Launch(ForElements(rows.n * rows.h), AddColumnsScaledKernel, rows, g, norm, dweight, dweight_stride);
  if (weight.dtype() == DType::kBFloat16) {
    SumRows<1>(rows, FoldedNormGradient<true>{g, weight.raw(), weight.stride(0), rows.h}, {dnorm});
  } else {
    SumRows<1>(rows, FoldedNormGradient<false>{g, weight.raw(), weight.stride(0), rows.h}, {dnorm});
  }
}

void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps, float* out) {
  ByWidth(rows.h, [&](auto by) {
    using By = decltype(by);
    Launch(ForRows<By>(rows.n), LayerNormKernel<By>, rows, x, weight, bias, eps, out);
  });
}

void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight, float* dbias) {
  const Scratch moments(rows.n * sizeof(Moments));
  ByWidth(rows.h, [&](auto by) {
    using By = decltype(by);
    Launch(ForRows<By>(rows.n), LayerNormBackwardKernel<By>, rows, dy, x, weight, eps, dx,
           moments.As<Moments>());
  });
  if (dweight == nullptr && dbias == nullptr) return;
  SumRows<2>(rows, LayerWeightGradients{dy, x, moments.As<Moments>(), rows.h}, {dweight, dbias});
}

}  // namespace eyas::cuda
