#include <vector>

#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

__global__ void RopeTablesKernel(RopeTableProblem p, const int64_t* axis_of, float* cosines, float* sines) {
  const int64_t n = p.n * p.frequencies, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t row = i / p.frequencies, f = i % p.frequencies;
    const float position = p.positions[axis_of[f] * p.n + row] + p.offset;
    // The angle is rounded as the models' own code rounds it; its functions are then exact.
    const float angle = position * p.inverse_frequencies[f];
    cosines[i] = static_cast<float>(cos(static_cast<double>(angle))) * p.scaling;
    sines[i] = static_cast<float>(sin(static_cast<double>(angle))) * p.scaling;
  }
}

__global__ void RopeKernel(RopeProblem p, float* out) {
  // An item is a pair of features, or one of those that are copied.
  const int64_t pairs = p.frequencies, items = p.head_size - pairs;
  const int64_t n = p.n * p.heads * items, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const float sign = p.inverse ? -1.0f : 1.0f;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t item = i % items, head = i / items % p.heads, row = i / items / p.heads;
    const float* x = p.x + row * p.x_stride + head * p.head_size;
    float* to = out + (row * p.heads + head) * p.head_size;
    if (item < pairs) {
      const float c = p.cos[row * pairs + item], s = sign * p.sin[row * pairs + item];
      const float a = x[item], b = x[item + pairs];
      to[item] = a * c - b * s;
      to[item + pairs] = b * c + a * s;
    } else {
      to[item + pairs] = x[item + pairs];
    }
  }
}

}  // namespace

void RopeTables(const RopeTableProblem& problem, float* cos, float* sin) {
  const size_t bytes = problem.frequencies * sizeof(int64_t);
  const Scratch axis_of(bytes);
  Runtime::Get().Upload(axis_of.As<int64_t>(), problem.axis_of, bytes);
  Launch(ForElements(problem.n * problem.frequencies), RopeTablesKernel, problem, axis_of.As<int64_t>(), cos,
         sin);
}

void Rope(const RopeProblem& problem, float* out) {
  const int64_t items = problem.head_size - problem.frequencies;
  Launch(ForElements(problem.n * problem.heads * items), RopeKernel, problem, out);
}

}  // namespace eyas::cuda
