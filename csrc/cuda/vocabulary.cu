#include "cuda/device/bf16.cuh"
#include "cuda/device/reduce.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// A value and where it stands. The larger wins, of equals the one that stands first; NaN never does.
struct Best {
  float value;
  int32_t index;
};

struct BetterOf {
  __device__ __forceinline__ Best operator()(Best a, Best b) const {
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
  }
};

// The best of a row of `columns` values by all threads of the block.
__device__ __forceinline__ Best BestOfRow(const float* x, int64_t columns, Best* shared) {
  Best best{-INFINITY, 0x7fffffff};
  for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) {
    if (x[i] > best.value) best = {x[i], static_cast<int32_t>(i)};
  }
  return BlockReduce(best, BetterOf(), shared);
}

__global__ void UpdateArgmaxKernel(const float* x, int64_t columns, int64_t first, ArgmaxState state) {
  __shared__ Best shared[kWarpLanes + 1];
  const int64_t row = blockIdx.x;
  const Best best = BestOfRow(x + row * columns, columns, shared);
  if (threadIdx.x == 0 && best.value > state.value[row]) {
    state.value[row] = best.value;
    state.index[row] = static_cast<int32_t>(first) + best.index;
  }
}

__global__ void TakeColumnsKernel(const float* x, Rows rows, const int32_t* columns, int64_t count,
                                  int64_t first, float* out, int64_t stride) {
  const int64_t n = rows.n * count, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t row = i / count, j = i % count;
    out[row * stride + j] = x[row * rows.h + columns[j] - first];
  }
}

// A block for each row of logits: argmax, then the loss, then the gradient over the logits or rounded.
__global__ void SoftCrossEntropyKernel(CrossEntropyRows rows) {
  __shared__ Best shared_best[kWarpLanes + 1];
  __shared__ float shared[kWarpLanes + 1];
  __shared__ double shared_double[kWarpLanes + 1];
  const int64_t row = blockIdx.x;
  float* x = rows.logits + row * rows.columns;
  const float* p = rows.teacher + rows.teacher_rows[row] * rows.teacher_stride;
  const Best best = BestOfRow(x, rows.columns, shared_best);
  float total = 0;
  double teacher_total = 0, product = 0;
  for (int64_t i = threadIdx.x; i < rows.columns; i += blockDim.x) {
    const float shifted = x[i] - best.value, value = expf(shifted);
    teacher_total += p[i];
    product += static_cast<double>(p[i]) * shifted;
    x[i] = value;
    total += value;
  }
  total = BlockReduce(total, SumOf(), shared);
  teacher_total = BlockReduce(teacher_total, SumOf(), shared_double);
  product = BlockReduce(product, SumOf(), shared_double);
  if (threadIdx.x == 0) {
    rows.argmax[row] = best.index == 0x7fffffff ? 0 : best.index;
    rows.loss[row] = static_cast<float>(teacher_total * log(static_cast<double>(total)) - product);
  }
  if (rows.scales == nullptr) return;
  const float factor = rows.scales[row], weight = factor * static_cast<float>(teacher_total) / total;
  if (rows.rounded != nullptr) {
    auto* out = reinterpret_cast<uint16_t*>(rows.rounded) + row * rows.columns;
    for (int64_t i = threadIdx.x; i < rows.columns; i += blockDim.x)
      out[i] = ToBf16(x[i] * weight - factor * p[i]);
  } else {
    for (int64_t i = threadIdx.x; i < rows.columns; i += blockDim.x) x[i] = x[i] * weight - factor * p[i];
  }
}

unsigned ThreadsFor(int64_t columns) { return columns <= 512 ? 128 : columns <= 8192 ? 512 : 1024; }

}  // namespace

void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first, const ArgmaxState& state) {
  Launch({dim3(static_cast<unsigned>(rows)), dim3(ThreadsFor(columns))}, UpdateArgmaxKernel, x, columns,
         first, state);
}

void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first, float* out,
                 int64_t stride) {
  Launch(ForElements(rows.n * count), TakeColumnsKernel, x, rows, columns, count, first, out, stride);
}

void SoftCrossEntropy(const CrossEntropyRows& rows) {
  Launch({dim3(static_cast<unsigned>(rows.rows)), dim3(ThreadsFor(rows.columns))}, SoftCrossEntropyKernel,
         rows);
}

}  // namespace eyas::cuda
