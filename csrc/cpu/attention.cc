#include "cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "core/parallel.h"
#include "cpu/attention_blocks.h"

namespace eyas::cpu {

namespace {

const BlockKernels& Kernels(const AttentionInput& in) {
  const AttentionKernels& kernels = GetAttentionKernels();
  return in.rounded ? kernels.rounded_blocks : kernels.blocks;
}

struct KeySpan {
  int64_t begin;
  int64_t end;
};

KeySpan SpanOf(const std::vector<QueryBlock>& blocks) {
  KeySpan span{std::numeric_limits<int64_t>::max(), 0};
  for (const QueryBlock& block : blocks) {
    if (block.key_begin == block.key_end) continue;
    span.begin = std::min(span.begin, block.key_begin);
    span.end = std::max(span.end, block.key_end);
  }
  span.begin = std::min(span.begin, span.end);
  return span;
}

// Scalar operations of a block, for sharing blocks out evenly.
int64_t Work(const AttentionInput& in, const QueryBlock& block) {
  return block.count * in.group() * (block.key_end - block.key_begin + kMaxLanes) * in.head_dim;
}

int64_t TotalWork(const AttentionInput& in, const std::vector<QueryBlock>& blocks) {
  int64_t total = 0;
  for (const QueryBlock& block : blocks) total += Work(in, block);
  return total;
}

int64_t PartsFor(const AttentionInput& in, const std::vector<QueryBlock>& blocks) {
  const int64_t count = static_cast<int64_t>(blocks.size());
  return PartCount(count, TotalWork(in, blocks) / std::max<int64_t>(1, count));
}

// One thread's share of the backward pass: consecutive blocks and its own sums for the heads that they touch.
struct BackwardPart {
  int64_t first = 0;
  int64_t last = 0;
  int64_t first_head = 0;
  Tensor dk;  // [heads touched, keys, padded head_dim]
  Tensor dv;
};

// Shares of about equal work. They depend on the shapes, the ranges and the number of threads alone, and so
// do the results.
std::vector<BackwardPart> MakeParts(const AttentionInput& in, const std::vector<QueryBlock>& blocks,
                                    int64_t keys) {
  const int64_t count = PartsFor(in, blocks), total = TotalWork(in, blocks);
  const int64_t width = RoundUp(in.head_dim, kMaxLanes);
  std::vector<BackwardPart> parts(count);
  int64_t at = 0, done = 0;
  for (int64_t i = 0; i < count; ++i) {
    BackwardPart& part = parts[i];
    part.first = at;
    while (at < static_cast<int64_t>(blocks.size()) && (i + 1 == count || done < total / count * (i + 1))) {
      done += Work(in, blocks[at++]);
    }
    part.last = at;
    if (part.first == part.last) continue;
    part.first_head = blocks[part.first].kv_head;
    const int64_t heads = blocks[part.last - 1].kv_head - part.first_head + 1;
    part.dk = Tensor::Zeros({heads, keys, width}, DType::kFloat32);
    part.dv = Tensor::Zeros({heads, keys, width}, DType::kFloat32);
  }
  return parts;
}

// Sums the shares' gradients, in their order, into [m, kv_heads, head_dim].
void SumParts(const AttentionInput& in, const std::vector<BackwardPart>& parts,
              Tensor BackwardPart::*gradient, int64_t first, int64_t keys, float* out) {
  const int64_t d = in.head_dim, width = RoundUp(d, kMaxLanes);
  ParallelFor(in.m, in.kv_heads * d, [&](int64_t begin, int64_t end) {
    std::fill(out + begin * in.kv_heads * d, out + end * in.kv_heads * d, 0.0f);
    for (const BackwardPart& part : parts) {
      const Tensor& sums = part.*gradient;
      if (!sums.defined()) continue;
      for (int64_t head = 0; head < sums.dim(0); ++head) {
        for (int64_t j = std::max(begin, first); j < std::min(end, first + keys); ++j) {
          const float* from = sums.data<float>() + (head * keys + j - first) * width;
          float* to = out + (j * in.kv_heads + part.first_head + head) * d;
          for (int64_t c = 0; c < d; ++c) to[c] += from[c];
        }
      }
    }
  });
}

// Gradients of the extra keys, query after query for each key-value head.
void SumExtras(const AttentionInput& in, const AttentionBackwardInput& back, const Tensor& p,
               const Tensor& ds, const AttentionGradientArrays& gradients) {
  const int64_t d = in.head_dim, extras = static_cast<int64_t>(in.extras.size());
  const auto add_extra = GetAttentionKernels().add_extra;
  ParallelFor(extras * in.kv_heads, in.n * in.group() * d * 4, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t e = at / in.kv_heads, kv_head = at % in.kv_heads;
      const AttentionExtra& extra = in.extras[e];
      const int64_t stride = in.kv_heads * d;
      float* dk = gradients.extras[e].dk + kv_head * d;
      float* dv = gradients.extras[e].dv + kv_head * d;
      for (int64_t row = 0; row < extra.m; ++row) {
        std::fill(dk + row * stride, dk + row * stride + d, 0.0f);
        std::fill(dv + row * stride, dv + row * stride + d, 0.0f);
      }
      const int64_t weights = e * in.n * in.heads;
      add_extra(in, back, extra.rows, kv_head, p.data<float>() + weights, ds.data<float>() + weights, dk, dv);
    }
  });
}

}  // namespace

void BlockAttention(const AttentionInput& in, const AttentionOutput& output) {
  const std::vector<QueryBlock> blocks = MakeQueryBlocks(in);
  const KeySpan span = SpanOf(blocks);
  const PackedKeys k = PackKeys(in.k, in.k_stride, in, span.begin, span.end, Packing::kPanels);
  const PackedKeys v = PackKeys(in.v, in.v_stride, in, span.begin, span.end, Packing::kRows);
  const ForwardTask task{in, output, k, v};
  const int64_t parts = PartsFor(in, blocks);
  const Tensor scratch({parts, ForwardScratch(in)}, DType::kFloat32);
  const auto forward_block = Kernels(in).forward;
  // Every block writes its own rows, so it does not matter which thread takes which. Last blocks first:
  // causal ones are the longest.
  std::atomic<int64_t> left{static_cast<int64_t>(blocks.size())};
  ParallelParts(parts, parts, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      for (int64_t at = --left; at >= 0; at = --left) {
        forward_block(task, blocks[at], scratch.data<float>() + part * scratch.dim(1));
      }
    }
  });
}

void BlockAttentionBackward(const AttentionInput& in, const AttentionBackwardInput& back,
                            const AttentionGradientArrays& gradients) {
  const std::vector<QueryBlock> blocks = MakeQueryBlocks(in);
  const KeySpan span = SpanOf(blocks);
  const PackedKeys k = PackKeys(in.k, in.k_stride, in, span.begin, span.end, Packing::kBoth);
  const PackedKeys v = PackKeys(in.v, in.v_stride, in, span.begin, span.end, Packing::kPanels);
  const int64_t keys = k.blocks * kBlockKeys;
  std::vector<BackwardPart> parts = MakeParts(in, blocks, keys);
  const int64_t count = static_cast<int64_t>(parts.size()), extras = static_cast<int64_t>(in.extras.size());
  const Tensor extra_p({extras, in.n, in.heads}, DType::kFloat32);
  const Tensor extra_ds({extras, in.n, in.heads}, DType::kFloat32);
  const BackwardTask task{in, back, k, v, gradients.dq, extra_p.data<float>(), extra_ds.data<float>()};
  const Tensor scratch({count, BackwardScratch(in)}, DType::kFloat32);
  const auto backward_block = Kernels(in).backward;
  const int64_t head_floats = keys * RoundUp(in.head_dim, kMaxLanes);
  ParallelParts(count, count, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const BackwardPart& part = parts[i];
      for (int64_t at = part.first; at < part.last; ++at) {
        const int64_t offset = (blocks[at].kv_head - part.first_head) * head_floats;
        backward_block(task, blocks[at], part.dk.data<float>() + offset, part.dv.data<float>() + offset,
                       scratch.data<float>() + i * scratch.dim(1));
      }
    }
  });
  SumParts(in, parts, &BackwardPart::dk, k.first, keys, gradients.dk);
  SumParts(in, parts, &BackwardPart::dv, k.first, keys, gradients.dv);
  SumExtras(in, back, extra_p, extra_ds, gradients);
}

void DecodeAttention(const AttentionInput& in, const AttentionOutput& output) {
  int64_t keys = 0, longest = 0;
  for (int64_t i = 0; i < in.n; ++i) {
    const int64_t count = std::max<int64_t>(in.end[i] - in.begin[i], 0);
    longest = std::max(longest, count);
    keys += count;
  }
  // Items are (key-value head, query), heads outermost: a part's queries of one head share its keys in cache.
  const int64_t items = in.kv_heads * in.n;
  const int64_t products = 2 * keys * in.group() * in.head_dim / kMaxLanes;
  const int64_t parts = PartCount(items, products / std::max<int64_t>(1, in.n));
  const Tensor scratch({parts, DecodeScratch(in, longest)}, DType::kFloat32);
  const auto decode = GetAttentionKernels().decode;
  ParallelParts(items, parts, [&](int64_t part, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t kv_head = at / in.n, last = std::min(end, (kv_head + 1) * in.n);
      decode(in, output, kv_head, at - kv_head * in.n, last - kv_head * in.n,
             scratch.data<float>() + part * scratch.dim(1));
      at = last;
    }
  });
}

}  // namespace eyas::cpu
