#pragma once

#include <cstdint>

namespace eyas::cpu {

// cos and sin [N,F] of angle = (positions[axis_of[f], n] + offset) · inverse_frequencies[f], which is rounded
// to float32 as the models' own code does; the functions themselves are correct for any angle.
struct RopeTableProblem {
  const float* positions;  // [axes,N]
  const float* inverse_frequencies;
  const int64_t* axis_of;  // [F]
  int64_t n;
  int64_t frequencies;
  float offset;
  float scaling;
};
void MakeRopeTables(const RopeTableProblem& problem, float* cos, float* sin);

// Rotates features (j, j + F), j < F, of every head of x [N,heads,D] by the row's angles; features from 2F on
// are copied. Rows of x lie x_stride apart; out is contiguous.
struct RopeProblem {
  const float* x;
  int64_t x_stride;
  int64_t n;
  int64_t heads;
  int64_t head_size;
  int64_t frequencies;
  const float* cos;
  const float* sin;
  bool inverse;
};
void Rope(const RopeProblem& problem, float* out);

}  // namespace eyas::cpu
