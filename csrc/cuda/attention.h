#pragma once

#include <cuda_runtime.h>

#include "core/backend.h"
#include "cuda/device/bf16.cuh"
#include "cuda/launch.h"

// What the files of attention share. Rows are the queries of all heads of one key-value head: row r is query
// r / group, head r % group of the group. Scores are in powers of two: they are multiplied by log2 e where
// they are scaled.

namespace eyas::cuda {

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

// Sizes that the kernels are told.
struct AttentionShape {
  int n;  // queries
  int m;  // keys
  int heads;
  int kv_heads;
  int group;
  int head_dim;
  float scale;

  // Of one key-value head.
  __host__ __device__ int rows() const { return n * group; }
};

inline AttentionShape ShapeOf(const AttentionInput& in) {
  return {static_cast<int>(in.n),
          static_cast<int>(in.m),
          static_cast<int>(in.heads),
          static_cast<int>(in.kv_heads),
          static_cast<int>(in.group()),
          static_cast<int>(in.head_dim),
          in.scale};
}

// Where each query's keys lie.
struct KeyRanges {
  const int32_t* begin;  // [n]
  const int32_t* end;
};

// Heads of rows in bfloat16: [heads, rows, width], width being head_dim padded with zeros.
struct PackedHeads {
  uint16_t* data;
  int rows;
  int width;
};

// Partial results of a part of the keys of each row: [splits, kv_heads, rows, head_dim] and logarithms of
// denominators to base 2 [splits, kv_heads, rows]; out is divided by the denominators. −∞ and 0 without keys.
struct PartialAttention {
  float* out;
  float* lse;
  int splits;
  // Blocks of keys in a part; 0: they are shared out evenly.
  int blocks;
  // The one part is the result: [n, heads, head_dim], and natural logarithms [n, heads].
  bool complete;
};

// What the backward pass knows of a row, [kv_heads, rows]: 16 bytes, as many as a thread copies at once.
// Zeros see nothing.
struct alignas(16) RowFacts {
  float lse;    // to base 2
  float delta;  // Σ dout ∘ out
  int begin;    // of its keys
  int end;
};

// Blocks of keys first ≤ b < last.
struct KeyBlocks {
  int first;
  int last;
};

// The part of a tile's blocks that a split has. Parts of a fixed size begin at the same keys for all tiles.
__device__ __forceinline__ KeyBlocks BlocksOf(const PartialAttention& out, int split, KeyBlocks tile) {
  const int each = out.blocks > 0 ? out.blocks : (tile.last - tile.first + out.splits - 1) / out.splits;
  const int first = split * each + (out.blocks > 0 ? 0 : tile.first), last = first + each;
  return {first > tile.first ? first : tile.first, last < tile.last ? last : tile.last};
}

// attention.cu
// Throws unless a block can have `bytes` of shared memory.
void ExpectSharedMemory(const char* op, int head_dim, size_t bytes);
// Into how many parts, at most `most`, the work of `blocks` equal blocks of `steps` is split, where `slots`
// blocks run at a time.
int SharesFor(int64_t blocks, int64_t slots, int64_t steps, int64_t most);

// attention_mma_forward.cu, attention_mma_backward.cu: tensor cores. Heads of up to 256 features; width is
// one of those below.
constexpr int kMmaWidths[] = {64, 80, 96, 128, 256};
void MmaForward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                const PackedHeads& k, const PackedHeads& v, const PartialAttention& out);
// dq [n, heads, head_dim] is added to; dk, dv [m, kv_heads, head_dim] are written. q is scaled as for the
// forward pass.
void MmaBackward(const AttentionShape& shape, const KeyRanges& ranges, const PackedHeads& q,
                 const PackedHeads& k, const PackedHeads& v, const PackedHeads& dout, const RowFacts* facts,
                 float* dq, float* dk, float* dv);
// Into how many parts the keys are split, for all multiprocessors to have work.
PartialAttention MmaSplits(const AttentionShape& shape, int width);

// attention_simt.cu: float32, heads of any size for which there is shared memory.
void SimtForward(const AttentionInput& in, const PartialAttention& out);
// Parts of all keys, and how many blocks each has.
PartialAttention SimtSplits(const AttentionShape& shape);
void SimtBackward(const AttentionInput& in, const float* dout, int64_t dout_stride, const RowFacts* facts,
                  float* dq, float* dk, float* dv);

}  // namespace eyas::cuda
