#pragma once

#include <vector>

#include "core/backend.h"
#include "core/tensor.h"

namespace eyas {

// √Σ g² over all elements of contiguous float32 tensors, in float64; NaN and infinity come through.
double GradNorm(const std::vector<Tensor>& grads);

struct AdamWTensors {
  std::vector<Tensor> params, grads, m, v;
  // The rounded copies, float32 or bfloat16; entries may be absent.
  std::vector<Tensor> compute;
};

// Updates params, m and v in place and writes the copies. All lists have one entry per parameter, of one
// shape.
void AdamW(const AdamWTensors& tensors, const AdamWStep& step);

}  // namespace eyas
