#pragma once

#include <cstdint>

#include "core/backend.h"

// Softmax attention on ranges of keys. Arrays are row-major with a row stride in elements; heads and features
// of a row lie side by side.

namespace eyas::cpu {

// Queries up to which DecodeAttention is used, whose rows do not depend on how many they are.
constexpr int64_t kDecodeQueries = 16;

// Flash attention: blocks of queries by blocks of keys, never an n × m matrix.
void BlockAttention(const AttentionInput& input, const AttentionOutput& output);
void BlockAttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                            const AttentionGradientArrays& gradients);

// For a few queries on a key-value cache: each (query, head) on its own, keys in order, so that a row's bits
// depend on its own keys alone.
void DecodeAttention(const AttentionInput& input, const AttentionOutput& output);

// The definition, in float64: oracle of the tests and fallback.
void PlainAttention(const AttentionInput& input, const AttentionOutput& output);
void PlainAttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                            const AttentionGradientArrays& gradients);

}  // namespace eyas::cpu
