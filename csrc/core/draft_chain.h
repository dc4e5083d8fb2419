#pragma once

#include <cstdint>
#include <vector>

#include "core/decoder_layer.h"

namespace eyas {

// An EAGLE-3 draft as decoding reads it: one layer over [embedding, hidden], a fused feature projection, a
// reduced head. Matrices as [out,in].
struct DraftWeights {
  Tensor fc;            // [H, features]
  Tensor input_norm;    // [H], of embeddings
  Tensor hidden_norm;   // [H]
  LayerWeights layer;   // qkv reads 2H; no input_norm
  Tensor norm;          // [H]
  Tensor lm_head;       // [draft vocabulary, H]
  Tensor embed_tokens;  // [V,H], of the target
  Tensor target_ids;    // int32 [draft vocabulary]
};

// Chain drafting: reads slots whose features are known, then proposes a token, reads it, proposes the next …
class DraftChain {
 public:
  DraftChain(const LayerConfig& config, const DraftWeights& weights);

  // `count` target ids that follow the last of n slots, greedily: features [n,·] of the slots, embeddings
  // [n,H] of the tokens after them. `rows` has n + count − 1 rows: those of the slots, then those of the
  // proposals but the last, whose keys and values lie behind the slots' in the cache.
  std::vector<int32_t> Propose(const Tensor& features, const Tensor& embeddings, const StepRows& rows,
                               const LayerCache& cache, int64_t count);

 private:
  // [2H] of one row: what q, k and v read.
  void WriteInput(const float* embedding, const float* hidden, float* input) const;

  LayerConfig config_;
  DraftWeights weights_;
  DecoderLayer layer_;
  StepWorkspace workspace_;
};

}  // namespace eyas
