#pragma once

#include <cstdint>

#include "core/backend.h"

namespace eyas::cpu {

// Contiguous float32 arrays of n elements; `out` may be one of the inputs.
void Add(const float* a, const float* b, float* out, int64_t n);
// a += alpha·b
void AddScaled(float* a, const float* b, float alpha, int64_t n);
void Scale(float* a, float factor, int64_t n);
void Multiply(const float* a, const float* b, float* out, int64_t n);
// Every row of a [rows, width] times the vector b [width].
void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width);
void Activate(const float* x, Activation kind, float* out, int64_t n);

// act(gate)·up
void GatedActivation(const GatedRows& in, Activation kind, float* out);
// dgate = dy·up·act'(gate), dup = dy·act(gate); rows of both are out_stride apart
void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate, float* dup,
                             int64_t out_stride);

}  // namespace eyas::cpu
