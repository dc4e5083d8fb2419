#pragma once

#include <cstdint>

namespace eyas::cpu {

// N contiguous rows of H float32 values. A row of only −infinity gives NaN, as elsewhere. `out` may be x.
void Softmax(int64_t n, int64_t h, const float* x, float* out);
// dx = y·(dy − Σ dy·y)
void SoftmaxBackward(int64_t n, int64_t h, const float* dy, const float* y, float* dx);

}  // namespace eyas::cpu
