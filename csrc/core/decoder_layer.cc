#include "core/decoder_layer.h"

#include <cmath>
#include <cstring>
#include <string>

#include "core/check.h"
#include "core/moe.h"
#include "cpu/attention.h"
#include "cpu/elementwise.h"
#include "cpu/gemm.h"
#include "cpu/norm.h"
#include "cpu/rope.h"

namespace eyas {

StepBuffers::StepBuffers(const LayerConfig& config, int64_t rows) {
  const int64_t d = config.head_dim;
  normed = Tensor({rows, config.hidden_size}, DType::kFloat32);
  const int64_t heads = config.heads + 2 * config.kv_heads;
  qkv = Tensor({rows, heads * d}, DType::kFloat32);
  const Tensor split = qkv.Reshape({rows, heads, d});
  q = split.Narrow(1, 0, config.heads);
  k = split.Narrow(1, config.heads, config.kv_heads);
  v = split.Narrow(1, config.heads + config.kv_heads, config.kv_heads);
  rotated = Tensor({rows, config.heads, d}, DType::kFloat32);
  attended = Tensor({rows, config.heads, d}, DType::kFloat32);
  merged = attended.Reshape({rows, config.heads * d});
  lse = Tensor({rows, config.heads}, DType::kFloat32);
  begin = Tensor::Zeros({rows}, DType::kInt32);
  end = Tensor({rows}, DType::kInt32);
}

namespace {

// [outputs, inputs]; -1 matches any size.
void ExpectMatrix(const char* op, const char* name, const Tensor& weight, const Dims& shape) {
  if (!weight.defined()) Fail(op, std::string("a tensor for ") + name, "undefined");
  ExpectFloating(op, name, weight);
  ExpectShape(op, name, weight, shape);
  ExpectContiguous(op, name, weight);
}

// A vector as contiguous float32, or absent.
Tensor VectorOf(const char* op, const char* name, const Tensor& weight, int64_t size) {
  if (!weight.defined()) return weight;
  ExpectFloating(op, name, weight);
  ExpectShape(op, name, weight, {size});
  return weight.dtype() == DType::kFloat32 ? Contiguous(weight) : Cast(weight, DType::kFloat32);
}

void ExpectRows(const char* op, const char* name, const Tensor& tensor, const Dims& shape) {
  ExpectDType(op, name, tensor, DType::kFloat32);
  ExpectShape(op, name, tensor, shape);
  ExpectContiguous(op, name, tensor);
}

// out = x · weightᵀ (+ bias) (+ out), all of contiguous rows.
void Multiply(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out,
              bool accumulate = false) {
  if (x.dim(0) <= cpu::kMaxGemmRows) {
    cpu::MultiplyRows(x.data<float>(), x.dim(0), weight, bias.defined() ? bias.data<float>() : nullptr,
                      out.data<float>(), accumulate);
    return;
  }
  MatmulArgs args;
  args.transpose_b = true;
  args.bias = bias;
  args.out = out;
  args.accumulate = accumulate;
  Matmul(x, weight, args);
}

void Norm(const Tensor& x, const Tensor& weight, double eps, const Tensor& out) {
  cpu::RmsNorm({x.dim(0), x.dim(1)}, x.data<float>(), weight.data<float>(), static_cast<float>(eps),
               out.data<float>());
}

// Rotates heads [n,heads,D] into contiguous rows.
void Rotate(const Tensor& heads, const RopeTables& tables, float* out) {
  cpu::Rope({heads.data<float>(), heads.stride(0), heads.dim(0), heads.dim(1), heads.dim(2),
             tables.cos.dim(1), tables.cos.data<float>(), tables.sin.data<float>(), false},
            out);
}

float* RowOf(const Tensor& tensor, int64_t row) { return tensor.data<float>() + row * tensor.stride(0); }

}  // namespace

DecoderLayer::DecoderLayer(const char* op, const LayerConfig& config, const LayerWeights& weights,
                           int64_t input_width)
    : config_(config), weights_(weights) {
  LayerWeights& w = weights_;
  if (w.qkv.device() != Device::kCpu) Fail(op, "weights on the cpu", w.qkv.ToString());
  BackendFor(op, {&w.qkv, &w.input_norm, &w.qkv_bias, &w.query_norm, &w.key_norm, &w.output, &w.output_bias,
                  &w.post_norm, &w.gate_up, &w.gate_up_bias, &w.down, &w.down_bias, &w.router});
  const int64_t h = config.hidden_size, d = config.head_dim, rows = (config.heads + 2 * config.kv_heads) * d;
  ExpectMatrix(op, "qkv", w.qkv, {rows, input_width});
  ExpectMatrix(op, "output", w.output, {h, config.heads * d});
  const auto vector = [&](const char* name, Tensor& weight, int64_t size) {
    weight = VectorOf(op, name, weight, size);
  };
  vector("inputNorm", w.input_norm, h);
  vector("qkvBias", w.qkv_bias, rows);
  vector("queryNorm", w.query_norm, d);
  vector("keyNorm", w.key_norm, d);
  vector("outputBias", w.output_bias, h);
  vector("postAttentionNorm", w.post_norm, h);
  if (!w.post_norm.defined()) Fail(op, "a tensor for postAttentionNorm", "undefined");
  if (w.router.defined()) {
    const int64_t experts = w.router.dim(0);
    ExpectMatrix(op, "router", w.router, {-1, h});
    ExpectMatrix(op, "gateUp", w.gate_up, {experts, -1, h});
    ExpectMatrix(op, "down", w.down, {experts, h, w.gate_up.dim(1) / 2});
    return;
  }
  ExpectMatrix(op, "gateUp", w.gate_up, {-1, h});
  ExpectMatrix(op, "down", w.down, {h, w.gate_up.dim(0) / 2});
  vector("gateUpBias", w.gate_up_bias, w.gate_up.dim(0));
  vector("downBias", w.down_bias, h);
}

void DecoderLayer::Check(const char* op, const StepRows& rows, const LayerCache& cache) const {
  const Tensor &cos = rows.tables.cos, &sin = rows.tables.sin;
  BackendFor(op, {&weights_.qkv, &cos, &sin, &cache.keys, &cache.values});
  ExpectRank(op, "cos", cos, 2);
  ExpectRows(op, "cos", cos, {-1, -1});
  ExpectRows(op, "sin", sin, cos.shape());
  if (2 * cos.dim(1) > config_.head_dim) {
    Fail(op, "cos with at most " + std::to_string(config_.head_dim / 2) + " frequencies", cos.ToString());
  }
  ExpectRows(op, "keys", cache.keys, {-1, config_.kv_heads, config_.head_dim});
  ExpectRows(op, "values", cache.values, cache.keys.shape());
  if (rows.start < 0 || rows.start > cache.keys.dim(0) - rows.count()) {
    Fail(op,
         "a start with room for " + std::to_string(rows.count()) + " rows in keys " + cache.keys.ToString(),
         std::to_string(rows.start));
  }
}

Tensor DecoderLayer::Input(const Tensor& x, StepBuffers& buffers) const {
  Norm(x, weights_.input_norm, config_.eps, buffers.normed);
  return buffers.normed;
}

void DecoderLayer::Step(const Tensor& input, const Tensor& x, const StepRows& rows, const LayerCache& cache,
                        StepBuffers& buffers) const {
  const LayerWeights& w = weights_;
  Multiply(input, w.qkv, w.qkv_bias, buffers.qkv);
  const bool normed = w.query_norm.defined();
  StoreHeads(w.key_norm.defined() ? RmsNorm(buffers.k, w.key_norm, config_.eps) : buffers.k, buffers.v, rows,
             cache);
  Rotate(normed ? RmsNorm(buffers.q, w.query_norm, config_.eps) : buffers.q, rows.tables,
         buffers.rotated.data<float>());

  const int64_t n = rows.count();
  int32_t* end = buffers.end.data<int32_t>();
  for (int64_t i = 0; i < n; ++i) end[i] = static_cast<int32_t>(rows.start + i + 1);
  AttentionInput attention;
  attention.q = buffers.rotated.data<float>();
  attention.q_stride = buffers.rotated.stride(0);
  attention.k = cache.keys.data<float>();
  attention.k_stride = cache.keys.stride(0);
  attention.v = cache.values.data<float>();
  attention.v_stride = cache.values.stride(0);
  attention.begin = buffers.begin.data<int32_t>();
  attention.end = end;
  attention.n = n;
  attention.m = cache.keys.dim(0);
  attention.heads = config_.heads;
  attention.kv_heads = config_.kv_heads;
  attention.head_dim = config_.head_dim;
  attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
  cpu::DecodeAttention(attention, {buffers.attended.data<float>(), buffers.lse.data<float>()});

  Multiply(buffers.merged, w.output, w.output_bias, x, true);
  Norm(x, w.post_norm, config_.eps, buffers.normed);
  AddMlp(x, buffers);
}

void DecoderLayer::Store(const Tensor& input, const StepRows& rows, const LayerCache& cache) const {
  const LayerWeights& w = weights_;
  const int64_t d = config_.head_dim, queries = config_.heads * d, width = config_.kv_heads * d;
  const Tensor both({rows.count(), 2 * width}, DType::kFloat32);
  const Tensor bias = w.qkv_bias.defined() ? w.qkv_bias.Narrow(0, queries, 2 * width) : w.qkv_bias;
  Multiply(input, w.qkv.Narrow(0, queries, 2 * width), bias, both);
  const Tensor split = both.Reshape({rows.count(), 2 * config_.kv_heads, d});
  const Tensor k = split.Narrow(1, 0, config_.kv_heads);
  StoreHeads(w.key_norm.defined() ? RmsNorm(k, w.key_norm, config_.eps) : k,
             split.Narrow(1, config_.kv_heads, config_.kv_heads), rows, cache);
}

void DecoderLayer::StoreHeads(const Tensor& k, const Tensor& v, const StepRows& rows,
                              const LayerCache& cache) const {
  Rotate(k, rows.tables, RowOf(cache.keys, rows.start));
  const size_t bytes = static_cast<size_t>(config_.kv_heads * config_.head_dim) * sizeof(float);
  for (int64_t i = 0; i < v.dim(0); ++i) {
    std::memcpy(RowOf(cache.values, rows.start + i), RowOf(v, i), bytes);
  }
}

void DecoderLayer::AddMlp(const Tensor& x, StepBuffers& buffers) const {
  const LayerWeights& w = weights_;
  if (w.router.defined()) {
    const Tensor logits({x.dim(0), w.router.dim(0)}, DType::kFloat32);
    Multiply(buffers.normed, w.router, Tensor(), logits);
    ExpertMlpArgs args;
    args.activation = config_.activation;
    args.out = x;
    args.accumulate = true;
    ExpertMlp(buffers.normed, RouteTopK(logits, w.experts_per_token, w.normalize), w.gate_up, w.down, args);
    return;
  }
  const int64_t intermediate = w.down.dim(1);
  if (!buffers.gated.defined() || buffers.gated.dim(1) != intermediate) {
    buffers.gate_up = Tensor({x.dim(0), 2 * intermediate}, DType::kFloat32);
    buffers.gated = Tensor({x.dim(0), intermediate}, DType::kFloat32);
  }
  Multiply(buffers.normed, w.gate_up, w.gate_up_bias, buffers.gate_up);
  const float* gate = buffers.gate_up.data<float>();
  cpu::GatedActivation(
      {gate, 2 * intermediate, gate + intermediate, 2 * intermediate, x.dim(0), intermediate},
      config_.activation, buffers.gated.data<float>());
  Multiply(buffers.gated, w.down, w.down_bias, x, true);
}

StepBuffers& StepWorkspace::Of(const LayerConfig& config, int64_t rows) {
  std::unique_ptr<StepBuffers>& buffers = buffers_[static_cast<size_t>(rows)];
  if (buffers == nullptr) buffers = std::make_unique<StepBuffers>(config, rows);
  return *buffers;
}

DecoderLayers::DecoderLayers(const LayerConfig& config, const std::vector<LayerWeights>& layers)
    : config_(config) {
  for (const LayerWeights& weights : layers) {
    if (!weights.input_norm.defined()) Fail("decoderLayers", "a tensor for inputNorm", "undefined");
    layers_.emplace_back("decoderLayers", config, weights, config.hidden_size);
  }
}

void DecoderLayers::Step(const Tensor& x, const StepRows& rows, const std::vector<LayerCache>& caches,
                         const std::vector<int64_t>& boundaries, const Tensor& aux) {
  constexpr const char* kOp = "step";
  const int64_t n = rows.count(), h = config_.hidden_size, layers = static_cast<int64_t>(layers_.size());
  if (n < 1 || n > kMostStepRows) {
    Fail(kOp, "cos of 1 to " + std::to_string(kMostStepRows) + " rows", rows.tables.cos.ToString());
  }
  BackendFor(kOp, {&rows.tables.cos, &x, &aux});
  ExpectRows(kOp, "x", x, {n, h});
  if (static_cast<int64_t>(caches.size()) != layers) {
    Fail(kOp, "keys and values of " + std::to_string(layers) + " layers", std::to_string(caches.size()));
  }
  for (size_t i = 0; i < caches.size(); ++i) layers_[i].Check(kOp, rows, caches[i]);
  if (!boundaries.empty()) ExpectRows(kOp, "aux", aux, {n, static_cast<int64_t>(boundaries.size()) * h});
  for (size_t i = 0; i < boundaries.size(); ++i) {
    if (boundaries[i] < (i == 0 ? 0 : boundaries[i - 1] + 1) || boundaries[i] > layers) {
      Fail(kOp, "ascending boundaries from 0 to " + std::to_string(layers), std::to_string(boundaries[i]));
    }
  }

  StepBuffers& buffers = workspace_.Of(config_, n);
  size_t tap = 0;
  for (int64_t layer = 0; layer <= layers; ++layer) {
    if (tap < boundaries.size() && boundaries[tap] == layer) {
      float* to = aux.data<float>() + static_cast<int64_t>(tap++) * h;
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * aux.stride(0), RowOf(x, i), h * sizeof(float));
    }
    if (layer == layers) break;
    const DecoderLayer& each = layers_[static_cast<size_t>(layer)];
    each.Step(each.Input(x, buffers), x, rows, caches[static_cast<size_t>(layer)], buffers);
  }
}

}  // namespace eyas
