#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "cpu/attention.h"

// What the blocked kernels (attention_*.inc, compiled once per instruction set) share with their drivers.

namespace eyas::cpu {

// Keys of a block: the width of a packed panel.
constexpr int64_t kBlockKeys = 64;
// Rows (queries × heads of one key-value head) that a block aims at; a multiple of every tile height.
constexpr int64_t kBlockRows = 96;
// Widest vector, in floats: feature rows are padded to a multiple.
constexpr int64_t kMaxLanes = 16;
// Sums that a decoding row's values are spread over.

inline int64_t RoundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// Consecutive queries of one key-value head. Row r is query first + r / group, head kv_head · group + r %
// group.
struct QueryBlock {
  int64_t kv_head;
  int64_t first;
  int64_t count;
  // Union of the key ranges of its queries; empty if key_begin == key_end.
  int64_t key_begin;
  int64_t key_end;
};

std::vector<QueryBlock> MakeQueryBlocks(const AttentionInput& input);

// Keys or values of all heads in whole blocks from `first` on, zero past the last one.
struct PackedKeys {
  int64_t first;   // multiple of kBlockKeys
  int64_t blocks;  // per head
  Tensor panels;   // [kv_heads, blocks, words of head_dim, kBlockKeys]
  Tensor rows;     // [kv_heads, blocks, words of kBlockKeys, padded head_dim]

  const float* Panel(int64_t head, int64_t block) const;
  const float* Rows(int64_t head, int64_t block) const;
};

enum class Packing { kPanels, kRows, kBoth };

// Packs keys begin ≤ j < end of x [m, kv_heads, head_dim]. A word is a value, or, where products round, a
// pair of neighbours in bfloat16.
PackedKeys PackKeys(const float* x, int64_t stride, const AttentionInput& input, int64_t begin, int64_t end,
                    Packing packing);

struct ForwardTask {
  const AttentionInput& input;
  const AttentionOutput& output;
  const PackedKeys& k;  // panels
  const PackedKeys& v;  // rows
};

struct BackwardTask {
  const AttentionInput& input;
  const AttentionBackwardInput& backward;
  const PackedKeys& k;  // both
  const PackedKeys& v;  // panels
  float* dq;
  // [extras, n, heads]: probability of each extra key and the gradient of its score.
  float* extra_p;
  float* extra_ds;
};

// Sizes of scratch are in floats.
struct BlockKernels {
  void (*forward)(const ForwardTask& task, const QueryBlock& block, float* scratch);
  // Adds to dk, dv [blocks · kBlockKeys, padded head_dim] of the block's key-value head.
  void (*backward)(const BackwardTask& task, const QueryBlock& block, float* dk, float* dv, float* scratch);
};

// One instruction set's kernels.
struct AttentionKernels {
  BlockKernels blocks;
  // With bfloat16 products; the same as `blocks` where the processor has none.
  BlockKernels rounded_blocks;
  // Adds the gradients of an extra's keys and values for one key-value head: probabilities p and gradients ds
  // [n, heads] of the extra, dk and dv the head's features in its rows.
  void (*add_extra)(const AttentionInput& input, const AttentionBackwardInput& backward, const int32_t* rows,
                    int64_t kv_head, const float* p, const float* ds, float* dk, float* dv);
  // Queries first ≤ i < last of one key-value head.
  void (*decode)(const AttentionInput& input, const AttentionOutput& output, int64_t kv_head, int64_t first,
                 int64_t last, float* scratch);
};

int64_t ForwardScratch(const AttentionInput& input);
int64_t BackwardScratch(const AttentionInput& input);
// For all queries of one key-value head, of which the longest range has `keys` keys.
int64_t DecodeScratch(const AttentionInput& input, int64_t keys);

const AttentionKernels& GetAttentionKernels();

}  // namespace eyas::cpu
