#include "cpu/attention_blocks.h"

#include <algorithm>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

int64_t BlockQueries(const AttentionInput& in) { return std::max<int64_t>(1, kBlockRows / in.group()); }

int64_t BlockRows(const AttentionInput& in) { return RoundUp(BlockQueries(in) * in.group(), kMaxLanes); }

// x [n] in bfloat16.
#if defined(__x86_64__)
// Products round only where the processor has these instructions, and it rounds the other operand with them.
__attribute__((target("avx512f,avx512bf16"))) void Round(const float* x, int64_t n, bfloat16* out) {
  constexpr int64_t kLanes = 16;
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + c));
    std::memcpy(out + c, &rounded, sizeof(rounded));
  }
  for (; c < n; ++c) out[c] = ToBFloat16(x[c]);
}
#else
void Round(const float* x, int64_t n, bfloat16* out) {
  for (int64_t c = 0; c < n; ++c) out[c] = ToBFloat16(x[c]);
}
#endif

// Words whose low halves are `low` and whose high halves are `high`, or zero without it.
EYAS_SIMD_CLONES void PairRows(const bfloat16* low, const bfloat16* high, int64_t n, uint32_t* out) {
  if (high == nullptr) {
    for (int64_t c = 0; c < n; ++c) out[c] = low[c].bits;
  } else {
    for (int64_t c = 0; c < n; ++c) out[c] = low[c].bits | static_cast<uint32_t>(high[c].bits) << 16;
  }
}

// out [words, kBlockKeys] from the words of each key; zero past `count` keys.
EYAS_SIMD_CLONES void Transpose(const uint32_t* x, int64_t stride, int64_t count, int64_t words,
                                uint32_t* out) {
  for (int64_t c = 0; c < words; ++c, out += kBlockKeys) {
    for (int64_t j = 0; j < count; ++j) out[j] = x[j * stride + c];
    for (int64_t j = count; j < kBlockKeys; ++j) out[j] = 0;
  }
}

// One block of keys x, `stride` apart; panels and rows are as in PackedKeys, or null.
void PackBlock(const float* x, int64_t stride, int64_t count, int64_t d, float* panels, float* rows) {
  const int64_t width = RoundUp(d, kMaxLanes);
  if (panels != nullptr) {
    Transpose(reinterpret_cast<const uint32_t*>(x), stride, count, d, reinterpret_cast<uint32_t*>(panels));
  }
  if (rows == nullptr) return;
  for (int64_t j = 0; j < kBlockKeys; ++j, rows += width) {
    const int64_t features = j < count ? d : 0;
    std::copy(x + j * stride, x + j * stride + features, rows);
    std::fill(rows + features, rows + width, 0.0f);
  }
}

// The same with words of pairs; `rounded` has room for a block in bfloat16 of an even width.
void PackBlockPairs(const float* x, int64_t stride, int64_t count, int64_t d, bfloat16* rounded,
                    float* panels, float* rows) {
  const int64_t width = RoundUp(d, kMaxLanes), even = RoundUp(d, 2);
  for (int64_t j = 0; j < count; ++j) {
    Round(x + j * stride, d, rounded + j * even);
    if (even > d) rounded[j * even + d] = {0};
  }
  if (panels != nullptr) {
    Transpose(reinterpret_cast<const uint32_t*>(rounded), even / 2, count, even / 2,
              reinterpret_cast<uint32_t*>(panels));
  }
  if (rows == nullptr) return;
  for (int64_t j = 0; j < kBlockKeys; j += 2, rows += width) {
    const int64_t features = j < count ? d : 0;
    const bfloat16* low = rounded + j * even;
    PairRows(low, j + 1 < count ? low + even : nullptr, features, reinterpret_cast<uint32_t*>(rows));
    std::fill(rows + features, rows + width, 0.0f);
  }
}

}  // namespace

std::vector<QueryBlock> MakeQueryBlocks(const AttentionInput& in) {
  const int64_t queries = BlockQueries(in);
  std::vector<QueryBlock> blocks;
  for (int64_t kv_head = 0; kv_head < in.kv_heads; ++kv_head) {
    for (int64_t first = 0; first < in.n; first += queries) {
      QueryBlock block{kv_head, first, std::min(queries, in.n - first), std::numeric_limits<int64_t>::max(),
                       0};
      for (int64_t i = first; i < first + block.count; ++i) {
        if (in.begin[i] >= in.end[i]) continue;
        block.key_begin = std::min<int64_t>(block.key_begin, in.begin[i]);
        block.key_end = std::max<int64_t>(block.key_end, in.end[i]);
      }
      block.key_begin = std::min(block.key_begin, block.key_end);
      blocks.push_back(block);
    }
  }
  return blocks;
}

int64_t ForwardScratch(const AttentionInput& in) {
  const int64_t rows = BlockRows(in), width = RoundUp(in.head_dim, kMaxLanes);
  // queries, scores, sums, lane sums, maxima
  return rows * (in.head_dim + kBlockKeys + width + kMaxLanes + 1);
}

int64_t BackwardScratch(const AttentionInput& in) {
  const int64_t rows = BlockRows(in), width = RoundUp(in.head_dim, kMaxLanes);
  // queries and dout transposed; queries, dout and dq; scores and (twice) their gradients; delta and lse
  return rows * (2 * in.head_dim + 3 * width + 3 * kBlockKeys + 2);
}

int64_t DecodeScratch(const AttentionInput& in, int64_t keys) {
  const int64_t width = RoundUp(in.head_dim, kMaxLanes);
  const int64_t scores = RoundUp(keys + static_cast<int64_t>(in.extras.size()), kBlockKeys);
  // sums, queries transposed, factors and scores of the rows; keys transposed
  return in.n * in.group() * (width + in.head_dim + 1 + scores) + in.head_dim * kBlockKeys;
}

const float* PackedKeys::Panel(int64_t head, int64_t block) const {
  return panels.data<float>() + (head * blocks + block) * panels.dim(2) * kBlockKeys;
}

const float* PackedKeys::Rows(int64_t head, int64_t block) const {
  return rows.data<float>() + (head * blocks + block) * rows.dim(2) * rows.dim(3);
}

PackedKeys PackKeys(const float* x, int64_t stride, const AttentionInput& in, int64_t begin, int64_t end,
                    Packing packing) {
  const int64_t d = in.head_dim, width = RoundUp(d, kMaxLanes);
  PackedKeys packed;
  packed.first = begin / kBlockKeys * kBlockKeys;
  packed.blocks = (end - packed.first + kBlockKeys - 1) / kBlockKeys;
  const bool panels = packing != Packing::kRows, rows = packing != Packing::kPanels;
  const int64_t depth = in.rounded ? 2 : 1, d_words = RoundUp(d, depth) / depth;
  if (panels) packed.panels = Tensor({in.kv_heads, packed.blocks, d_words, kBlockKeys}, DType::kFloat32);
  if (rows) packed.rows = Tensor({in.kv_heads, packed.blocks, kBlockKeys / depth, width}, DType::kFloat32);
  ParallelFor(in.kv_heads * packed.blocks, kBlockKeys * width, [&](int64_t from, int64_t to) {
    std::vector<bfloat16> rounded(in.rounded ? kBlockKeys * d_words * 2 : 0);
    for (int64_t at = from; at < to; ++at) {
      const int64_t head = at / packed.blocks, first = packed.first + at % packed.blocks * kBlockKeys;
      const int64_t count = std::min(kBlockKeys, end - first);
      const float* source = x + first * stride + head * d;
      float* to_panels = panels ? packed.panels.data<float>() + at * d_words * kBlockKeys : nullptr;
      float* to_rows = rows ? packed.rows.data<float>() + at * kBlockKeys / depth * width : nullptr;
      if (in.rounded) {
        PackBlockPairs(source, stride, count, d, rounded.data(), to_panels, to_rows);
      } else {
        PackBlock(source, stride, count, d, to_panels, to_rows);
      }
    }
  });
  return packed;
}

}  // namespace eyas::cpu
