#include <algorithm>

#include "cuda/device/bf16.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

constexpr int kTile = 16;

struct PlainOperand {
  const void* data;
  int64_t row_stride;
  int64_t column_stride;
  bool half;

  __device__ __forceinline__ float At(int64_t row, int64_t column) const {
    const int64_t at = row * row_stride + column * column_stride;
    return half ? FromBf16(static_cast<const uint16_t*>(data)[at]) : static_cast<const float*>(data)[at];
  }
};

struct PlainProblem {
  PlainOperand a;  // [m, k]
  PlainOperand b;  // [k, n]
  const float* bias;
  float* out;
  int64_t out_stride;
  int64_t m;
  int64_t n;
  int64_t k;
  bool accumulate;
};

// A thread for each element of a tile of the result.
__global__ void __launch_bounds__(kTile* kTile) PlainProductKernel(PlainProblem p) {
  __shared__ float left[kTile][kTile + 1], right[kTile][kTile + 1];
  const int x = threadIdx.x % kTile, y = threadIdx.x / kTile;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kTile + x;
  for (int64_t first = static_cast<int64_t>(blockIdx.y) * kTile; first < p.m;
       first += static_cast<int64_t>(gridDim.y) * kTile) {
    const int64_t row = first + y;
    float sum = 0;
    for (int64_t d = 0; d < p.k; d += kTile) {
      left[y][x] = row < p.m && d + x < p.k ? p.a.At(row, d + x) : 0.0f;
      right[y][x] = d + y < p.k && column < p.n ? p.b.At(d + y, column) : 0.0f;
      __syncthreads();
      for (int i = 0; i < kTile; ++i) sum += left[y][i] * right[i][x];
      __syncthreads();
    }
    if (row < p.m && column < p.n) {
      if (p.bias != nullptr) sum += p.bias[column];
      float* to = p.out + row * p.out_stride + column;
      *to = p.accumulate ? *to + sum : sum;
    }
  }
}

PlainOperand OperandOf(const Tensor& x) {
  return {x.raw(), x.stride(0), x.stride(1), x.dtype() == DType::kBFloat16};
}

}  // namespace

void PlainProduct(const GemmProblem& problem) {
  const int64_t m = problem.out.dim(0), n = problem.out.dim(1);
  const auto rows = static_cast<unsigned>(std::min(CeilDiv(m, kTile), kMostBlocksY));
  Launch({dim3(static_cast<unsigned>(CeilDiv(n, kTile)), rows), dim3(kTile * kTile)}, PlainProductKernel,
         PlainProblem{OperandOf(problem.a), OperandOf(problem.b), problem.bias, problem.out.data<float>(),
                      problem.out.stride(0), m, n, problem.a.dim(1), problem.accumulate});
}

}  // namespace eyas::cuda
