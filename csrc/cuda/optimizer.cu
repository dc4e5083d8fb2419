#include <algorithm>
#include <cmath>

#include "cuda/device/bf16.cuh"
#include "cuda/device/reduce.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// Arrays that one launch takes: their addresses travel as arguments of the kernel.
constexpr int kArrays = 24;
// Elements of an array that a block takes.
constexpr int64_t kBlockElements = 8192;

template <typename Array>
struct ArrayList {
  Array arrays[kArrays];
  // Blocks up to and with each array.
  unsigned ends[kArrays];
  int count;

  // Array of a block, and the block's number in it.
  __device__ __forceinline__ int Find(unsigned block, unsigned* number) const {
    int i = 0;
    while (block >= ends[i]) ++i;
    *number = i == 0 ? block : block - ends[i - 1];
    return i;
  }
};

// Calls body(list, number of blocks) for as many lists as all arrays need.
template <typename Array, typename Body>
void InLists(const std::vector<Array>& arrays, const Body& body) {
  ArrayList<Array> list{};
  const auto flush = [&] {
    if (list.count > 0) body(list, list.ends[list.count - 1]);
    list.count = 0;
  };
  for (const Array& array : arrays) {
    if (array.size == 0) continue;
    const unsigned before = list.count == 0 ? 0 : list.ends[list.count - 1];
    list.arrays[list.count] = array;
    list.ends[list.count++] = before + static_cast<unsigned>(CeilDiv(array.size, kBlockElements));
    if (list.count == kArrays) flush();
  }
  flush();
}

__global__ void SquaresKernel(ArrayList<FloatArray> list, double* sums) {
  __shared__ double shared[kWarpLanes + 1];
  unsigned number;
  const FloatArray& array = list.arrays[list.Find(blockIdx.x, &number)];
  const int64_t first = number * kBlockElements;
  const int64_t last = first + kBlockElements < array.size ? first + kBlockElements : array.size;
  double sum = 0;
  for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) {
    sum += static_cast<double>(array.data[i]) * static_cast<double>(array.data[i]);
  }
  sum = BlockReduce(sum, SumOf(), shared);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void TotalKernel(const double* sums, int64_t n, double* total) {
  __shared__ double shared[kWarpLanes + 1];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
  sum = BlockReduce(sum, SumOf(), shared);
  if (threadIdx.x == 0) *total = sum;
}

// The constants of a step, rounded once: rest1 and rest2 are 1 − β, keep is 1 − lr · weight decay.
struct AdamWFactors {
  float grad_scale, rest1, rest2, keep, step_size, root_correction, eps;
};

__global__ void AdamWKernel(ArrayList<AdamWTensor> list, AdamWFactors f) {
  unsigned number;
  const AdamWTensor& t = list.arrays[list.Find(blockIdx.x, &number)];
  const int64_t first = number * kBlockElements;
  const int64_t last = first + kBlockElements < t.size ? first + kBlockElements : t.size;
  for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) {
    const float g = t.grad[i] * f.grad_scale;
    const float m = t.m[i] + (g - t.m[i]) * f.rest1;
    const float v = t.v[i] + (g * g - t.v[i]) * f.rest2;
    const float param = t.param[i] * f.keep - f.step_size * m / (sqrtf(v) * f.root_correction + f.eps);
    t.m[i] = m;
    t.v[i] = v;
    t.param[i] = param;
    if (t.copy != nullptr) t.copy[i] = param;
    if (t.rounded_copy != nullptr) reinterpret_cast<uint16_t*>(t.rounded_copy)[i] = ToBf16(param);
  }
}

}  // namespace

double EuclideanNorm(const std::vector<FloatArray>& arrays) {
  int64_t blocks = 0;
  for (const FloatArray& array : arrays) blocks += CeilDiv(array.size, kBlockElements);
  if (blocks == 0) return 0;
  const Scratch sums((blocks + 1) * sizeof(double));
  double* next = sums.As<double>();
  InLists(arrays, [&](const ArrayList<FloatArray>& list, unsigned count) {
    Launch({dim3(count), dim3(kThreads)}, SquaresKernel, list, next);
    next += count;
  });
  Launch({dim3(1), dim3(kThreads)}, TotalKernel, sums.As<double>(), blocks, next);
  double total;
  Runtime::Get().Download(&total, next, sizeof(total));
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
  InLists(tensors, [&](const ArrayList<AdamWTensor>& list, unsigned blocks) {
    Launch({dim3(blocks), dim3(kThreads)}, AdamWKernel, list, factors);
  });
}

}  // namespace eyas::cuda
