#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"

namespace eyas::cpu {

// √Σ x² in float64. The order of the sum depends on the sizes alone, not on the number of threads.
double EuclideanNorm(const std::vector<FloatArray>& arrays);

// Decoupled weight decay and bias correction (Loshchilov and Hutter, 2019), one pass over the memory.
void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);

}  // namespace eyas::cpu
