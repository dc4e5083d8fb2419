#pragma once

#include <optional>
#include <vector>

#include "core/tensor.h"

namespace eyas {

// Keys and values beside the ranges: query i also sees row rows[i] of k and v.
struct ExtraKeys {
  Tensor k;  // [M, kv_heads, D]
  Tensor v;
  Tensor rows;  // int32 [N]
};

struct AttentionOptions {
  std::optional<double> scale;  // 1/√D if absent
  std::vector<ExtraKeys> extras;
  bool plain = false;
  // Products of more than a few queries round both factors to bfloat16 where the processor multiplies that.
  bool rounded = false;
  Tensor out;  // written, if it is given, and returned as the result's
};

// q [N, heads, D]; k, v [M, kv_heads, D], float32; rows may be strided. Query i sees keys begin[i] ≤ j <
// end[i] (int32 [N], within 0 to M; begin ≥ end is an empty range) and its extras, in one softmax.
struct AttentionArguments {
  Tensor q, k, v, begin, end;
  AttentionOptions options;
};

struct AttentionResult {
  Tensor out;  // [N, heads, D]; 0 for a query without keys
  Tensor lse;  // [N, heads], natural logarithm; −∞ for a query without keys
};

struct AttentionGradients {
  struct Extra {
    Tensor dk;
    Tensor dv;
  };
  Tensor dq, dk, dv;
  std::vector<Extra> extras;
};

AttentionResult Attention(const AttentionArguments& arguments);
// out and lse are those of Attention() with the same arguments.
AttentionGradients AttentionBackward(const Tensor& dout, const Tensor& out, const Tensor& lse,
                                     const AttentionArguments& arguments);

}  // namespace eyas
