#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/ops.h"

// Layers of a decoder for steps of a few rows on a key-value cache: the operations that prefill calls one by
// one, in one call, because calling costs more than a small operation. Shapes: n rows, H features, D head
// size, I intermediate, E experts.

namespace eyas {

struct LayerConfig {
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  double eps = 0;
  Activation activation = Activation::kSilu;
};

// Matrices as [out,in]. Those that a model lacks are absent.
struct LayerWeights {
  Tensor input_norm;  // [H]; absent where the caller norms what q, k and v read
  Tensor qkv;         // [(heads + 2·kv_heads)·D, width of the input]
  Tensor qkv_bias;
  Tensor query_norm;  // [D]
  Tensor key_norm;
  Tensor output;  // [H, heads·D]
  Tensor output_bias;
  Tensor post_norm;  // [H]
  Tensor gate_up;    // [2I,H], or of experts [E,2I,H]
  Tensor gate_up_bias;
  Tensor down;  // [H,I], or of experts [E,H,I]
  Tensor down_bias;
  Tensor router;  // [E,H]: its presence makes the MLP a mixture of experts
  int64_t experts_per_token = 0;
  bool normalize = false;
};

// Rotated keys and values [capacity, kv_heads, D] of a layer, contiguous float32; those of the rows of a step
// are written from row `start` on.
struct LayerCache {
  Tensor keys;
  Tensor values;
};

// Rows of a step: tables cos and sin [n,F], contiguous float32, and their place in the cache. Row i sees the
// cache up to itself.
struct StepRows {
  RopeTables tables;
  int64_t start = 0;

  int64_t count() const { return tables.cos.dim(0); }
};

constexpr int64_t kMostStepRows = 16;

// What a step of n rows writes in turn.
struct StepBuffers {
  StepBuffers(const LayerConfig& config, int64_t rows);

  Tensor normed;  // [n,H]
  Tensor qkv;     // [n, (heads + 2·kv_heads)·D]; q [n,heads,D], k and v [n,kv_heads,D] are its parts
  Tensor q, k, v;
  Tensor rotated;   // [n,heads,D]
  Tensor attended;  // [n,heads,D]; merged [n,heads·D] is the same memory
  Tensor merged;
  Tensor lse;         // [n,heads]
  Tensor begin, end;  // int32 [n]
  Tensor gate_up;     // [n,2I] and [n,I]; made when a dense MLP first asks
  Tensor gated;
};

class DecoderLayer {
 public:
  // Throws std::invalid_argument where a weight does not fit. `op` names the function in errors.
  DecoderLayer(const char* op, const LayerConfig& config, const LayerWeights& weights, int64_t input_width);

  const LayerConfig& config() const { return config_; }
  // Throws std::invalid_argument unless the tables and the cache fit the layer and the rows.
  void Check(const char* op, const StepRows& rows, const LayerCache& cache) const;

  // Norm of x, what q, k and v read: [n,H].
  Tensor Input(const Tensor& x, StepBuffers& buffers) const;
  // Adds attention and MLP to the residual stream x [n,H], contiguous float32, n ≤ kMostStepRows.
  void Step(const Tensor& input, const Tensor& x, const StepRows& rows, const LayerCache& cache,
            StepBuffers& buffers) const;
  // Writes keys and values alone, of any number of rows.
  void Store(const Tensor& input, const StepRows& rows, const LayerCache& cache) const;

 private:
  void StoreHeads(const Tensor& k, const Tensor& v, const StepRows& rows, const LayerCache& cache) const;
  void AddMlp(const Tensor& x, StepBuffers& buffers) const;

  LayerConfig config_;
  LayerWeights weights_;
};

// Buffers of the layers of one decoder, by the number of rows.
class StepWorkspace {
 public:
  StepBuffers& Of(const LayerConfig& config, int64_t rows);

 private:
  std::array<std::unique_ptr<StepBuffers>, kMostStepRows + 1> buffers_;
};

// All layers of a decoder.
class DecoderLayers {
 public:
  DecoderLayers(const LayerConfig& config, const std::vector<LayerWeights>& layers);

  // The layers, in order, on x [n,H], in place. `boundaries` ascend: the residual stream before layer k, or
  // after the last of k layers, is copied to aux [n, boundaries·H] for the k of each.
  void Step(const Tensor& x, const StepRows& rows, const std::vector<LayerCache>& caches,
            const std::vector<int64_t>& boundaries, const Tensor& aux);

 private:
  LayerConfig config_;
  std::vector<DecoderLayer> layers_;
  StepWorkspace workspace_;
};

}  // namespace eyas
