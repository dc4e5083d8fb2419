#include "cpu/attention_blocks.h"

#include <algorithm>
#include <limits>

#include "core/parallel.h"

namespace eyas::cpu {

namespace {

int64_t BlockQueries(const AttentionInput& in) { return std::max<int64_t>(1, kBlockRows / in.group()); }

int64_t BlockRows(const AttentionInput& in) { return RoundUp(BlockQueries(in) * in.group(), kMaxLanes); }

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
  // query, sums and scores; queries and keys transposed
  return in.n * in.group() *
             ((1 + kDecodeSums) * width + RoundUp(keys + static_cast<int64_t>(in.extras.size()), kMaxLanes) +
              in.head_dim) +
         in.head_dim * kBlockKeys;
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
    for (int64_t at = from; at < to; ++at) {
      const int64_t head = at / packed.blocks, first = packed.first + at % packed.blocks * kBlockKeys;
      const int64_t count = std::min(kBlockKeys, end - first);
      const float* source = x + first * stride + head * d;
      if (panels) {
        float* out = packed.panels.data<float>() + at * d_words * kBlockKeys;
        for (int64_t c = 0; c < d_words; ++c) {
          float* words = out + c * kBlockKeys;
          for (int64_t j = 0; j < count; ++j) {
            const float* value = source + j * stride + c * depth;
            words[j] = in.rounded ? PairWord(value[0], c * 2 + 1 < d ? value[1] : 0.0f) : value[0];
          }
          std::fill(words + count, words + kBlockKeys, 0.0f);
        }
      }
      if (rows) {
        float* out = packed.rows.data<float>() + at * kBlockKeys / depth * width;
        for (int64_t j = 0; j < kBlockKeys; j += depth, out += width) {
          const int64_t features = j < count ? d : 0;
          const float* value = source + j * stride;
          if (in.rounded) {
            const float* next = value + stride;
            for (int64_t c = 0; c < features; ++c)
              out[c] = PairWord(value[c], j + 1 < count ? next[c] : 0.0f);
          } else {
            std::copy(value, value + features, out);
          }
          std::fill(out + features, out + width, 0.0f);
        }
      }
    }
  });
  return packed;
}

}  // namespace eyas::cpu
