#pragma once

#include <cstdint>

#include "core/ops.h"

// Mixture-of-experts feed-forward. Shapes: N rows, H features, E experts, k of them per row, I intermediate.

namespace eyas {

struct Routing {
  Tensor experts;  // int32 [N,k]
  Tensor weights;  // float32 [N,k]
};

// The k most probable experts of every row, by a float32 softmax over logits [N,E], most probable first, the
// lower index first of equals. `normalize` divides the weights of a row by their sum.
Routing RouteTopK(const Tensor& logits, int64_t k, bool normalize);

struct ExpertMlpArgs {
  Activation activation = Activation::kSilu;
  Tensor out;  // float32 [N,H] or absent
  bool accumulate = false;
};
// Σ over a row's experts of weight · down[e] · (act(gate)·up), where gate and up are the halves of gate_up[e]
// · x: x [N,H], gate_up [E,2I,H], down [E,H,I]. Only what was chosen is computed, in products as Matmul's. A
// row's experts are added in ascending order; up to 16 rows, each row's bits do not depend on how many there
// are.
Tensor ExpertMlp(const Tensor& x, const Routing& routing, const Tensor& gate_up, const Tensor& down,
                 const ExpertMlpArgs& args);

}  // namespace eyas
