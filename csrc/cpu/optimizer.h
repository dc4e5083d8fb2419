#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace eyas::cpu {

struct FloatArray {
  const float* data;
  int64_t size;
};

// √Σ x² in float64. The order of the sum depends on the sizes alone, not on the number of threads.
double EuclideanNorm(const std::vector<FloatArray>& arrays);

// One tensor of an AdamW step; at most one copy is given.
struct AdamWTensor {
  float* param;
  const float* grad;
  float* m;
  float* v;
  float* copy;
  bfloat16* rounded_copy;
  int64_t size;
};

struct AdamWStep {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  int64_t step;  // 1 for the first
  double grad_scale;
};

// Decoupled weight decay and bias correction (Loshchilov and Hutter, 2019), one pass over the memory.
void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);

}  // namespace eyas::cpu
