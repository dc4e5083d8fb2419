#pragma once

#include <cstdint>
#include <vector>

// Softmax attention on ranges of keys. Arrays are row-major with a row stride in elements; heads and features
// of a row lie side by side.

namespace eyas::cpu {

// Keys and values beside the range: query i also sees row rows[i].
struct AttentionExtra {
  const float* k;  // [m, kv_heads, head_dim]
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const int32_t* rows;  // [n]
  int64_t m;
};

struct AttentionInput {
  const float* q;  // [n, heads, head_dim]
  int64_t q_stride;
  const float* k;  // [m, kv_heads, head_dim]
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const int32_t* begin;  // [n]; query i sees keys begin[i] ≤ j < end[i]
  const int32_t* end;
  int64_t n;
  int64_t m;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  float scale;
  // Products of blocks with both factors in bfloat16, where the processor multiplies that; sums and softmax
  // stay float32.
  bool rounded = false;
  std::vector<AttentionExtra> extras;

  int64_t group() const { return heads / kv_heads; }
};

// Contiguous results: out [n, heads, head_dim] and the natural logarithm of the softmax denominators,
// lse [n, heads]; 0 and −∞ for a query without keys.
struct AttentionOutput {
  float* out;
  float* lse;
};

struct AttentionBackwardInput {
  const float* dout;  // [n, heads, head_dim]
  int64_t dout_stride;
  const float* out;  // contiguous, of the forward pass
  const float* lse;
};

// Contiguous and overwritten, in the shapes of their inputs.
struct AttentionGradients {
  float* dq;
  float* dk;
  float* dv;
  struct Extra {
    float* dk;
    float* dv;
  };
  std::vector<Extra> extras;
};

// Queries up to which DecodeAttention is used, whose rows do not depend on how many they are.
constexpr int64_t kDecodeQueries = 16;

// Flash attention: blocks of queries by blocks of keys, never an n × m matrix.
void BlockAttention(const AttentionInput& input, const AttentionOutput& output);
void BlockAttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                            const AttentionGradients& gradients);

// For a few queries on a key-value cache: each (query, head) on its own, keys in order, so that a row's bits
// depend on its own keys alone.
void DecodeAttention(const AttentionInput& input, const AttentionOutput& output);

// The definition, in float64: oracle of the tests and fallback.
void PlainAttention(const AttentionInput& input, const AttentionOutput& output);
void PlainAttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                            const AttentionGradients& gradients);

}  // namespace eyas::cpu
