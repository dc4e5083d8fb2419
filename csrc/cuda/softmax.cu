#include "cuda/device/reduce.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// A block for each row. NaN and rows of only −infinity give NaN.
__global__ void SoftmaxKernel(Rows rows, const float* x, float* out) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = blockIdx.x; row < rows.n; row += gridDim.x) {
    const float* from = x + row * rows.h;
    float* to = out + row * rows.h;
    float largest = -INFINITY;
    for (int64_t i = threadIdx.x; i < rows.h; i += blockDim.x)
      largest = from[i] > largest ? from[i] : largest;
    largest = BlockReduce(largest, MaxOf(), shared);
    float sum = 0;
    for (int64_t i = threadIdx.x; i < rows.h; i += blockDim.x) {
      const float value = expf(from[i] - largest);
      to[i] = value;
      sum += value;
    }
    const float inverse = 1.0f / BlockReduce(sum, SumOf(), shared);
    for (int64_t i = threadIdx.x; i < rows.h; i += blockDim.x) to[i] *= inverse;
  }
}

__global__ void SoftmaxBackwardKernel(Rows rows, const float* dy, const float* y, float* dx) {
  __shared__ float shared[kWarpLanes + 1];
  for (int64_t row = blockIdx.x; row < rows.n; row += gridDim.x) {
    const int64_t first = row * rows.h;
    float dot = 0;
    for (int64_t i = threadIdx.x; i < rows.h; i += blockDim.x) dot += dy[first + i] * y[first + i];
    dot = BlockReduce(dot, SumOf(), shared);
    for (int64_t i = threadIdx.x; i < rows.h; i += blockDim.x)
      dx[first + i] = y[first + i] * (dy[first + i] - dot);
  }
}

LaunchShape ForRows(Rows rows) {
  const int64_t blocks = rows.h == 0 ? 0 : rows.n < kMostBlocks ? rows.n : kMostBlocks;
  return {dim3(static_cast<unsigned>(blocks)), dim3(rows.h <= 128 ? 64 : rows.h <= 4096 ? 256 : 1024)};
}

}  // namespace

void Softmax(Rows rows, const float* x, float* out) { Launch(ForRows(rows), SoftmaxKernel, rows, x, out); }

void SoftmaxBackward(Rows rows, const float* dy, const float* y, float* dx) {
  Launch(ForRows(rows), SoftmaxBackwardKernel, rows, dy, y, dx);
}

}  // namespace eyas::cuda
