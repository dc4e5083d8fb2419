#pragma once

#include <cstdint>

namespace eyas::cpu {

// out[i] = std · z[i], z standard normal: Philox4x32-10 with counter i / 4 and the seed as key, then
// Box-Muller in float64. The values do not depend on threads or instruction set.
void RandomNormal(float* out, int64_t n, double std, uint64_t seed);

}  // namespace eyas::cpu
