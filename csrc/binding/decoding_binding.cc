#include <algorithm>
#include <memory>
#include <string>

#include "binding/args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "core/decoder_layer.h"
#include "core/draft_chain.h"

namespace eyas {

namespace {

LayerConfig ReadConfig(const char* op, const Options& options) {
  LayerConfig config;
  config.hidden_size = options.Int("hiddenSize");
  config.heads = options.Int("numHeads");
  config.kv_heads = options.Int("numKeyValueHeads");
  config.head_dim = options.Int("headDim");
  config.eps = options.Number("rmsNormEps");
  config.activation = ParseActivation(op, "activation", options.Text("activation"));
  if (config.hidden_size < 1 || config.heads < 1 || config.kv_heads < 1 || config.head_dim < 1 ||
      config.heads % config.kv_heads != 0) {
    Fail(op, "sizes of 1 or more and a number of key heads that divides that of the heads",
         std::to_string(config.hidden_size) + ", " + std::to_string(config.heads) + ", " +
             std::to_string(config.kv_heads) + ", " + std::to_string(config.head_dim));
  }
  return config;
}

LayerWeights ReadLayer(const Options& layer, const Options& mlp) {
  LayerWeights weights;
  weights.input_norm = layer.OptionalTensor("inputNorm");
  weights.qkv = layer.RequiredTensor("qkv");
  weights.qkv_bias = layer.OptionalTensor("qkvBias");
  weights.query_norm = layer.OptionalTensor("queryNorm");
  weights.key_norm = layer.OptionalTensor("keyNorm");
  weights.output = layer.RequiredTensor("output");
  weights.output_bias = layer.OptionalTensor("outputBias");
  weights.post_norm = layer.RequiredTensor("postAttentionNorm");
  weights.gate_up = mlp.RequiredTensor("gateUp");
  weights.gate_up_bias = mlp.OptionalTensor("gateUpBias");
  weights.down = mlp.RequiredTensor("down");
  weights.down_bias = mlp.OptionalTensor("downBias");
  weights.router = mlp.OptionalTensor("router");
  if (weights.router.defined()) {
    weights.experts_per_token = mlp.Int("expertsPerToken");
    weights.normalize = mlp.Bool("normTopkProb", false);
  }
  return weights;
}

// A function of a handle; `State` lives until dispose() or the collector.
template <typename State, typename Body>
void Method(Napi::Object handle, const char* name, std::shared_ptr<std::unique_ptr<State>> state, Body body) {
  const auto call = [name, state, body](const Napi::CallbackInfo& info) -> Napi::Value {
    return Guard(info.Env(), [&]() -> Napi::Value {
      if (*state == nullptr) Fail(name, "a live handle", "a disposed one");
      return body(**state, Args(name, info));
    });
  };
  handle.Set(name, Napi::Function::New(handle.Env(), call, name));
}

template <typename State>
Napi::Object Handle(Napi::Env env, std::shared_ptr<std::unique_ptr<State>> state) {
  const Napi::Object handle = Napi::Object::New(env);
  const auto dispose = [state](const Napi::CallbackInfo&) { state->reset(); };
  handle.Set("dispose", Napi::Function::New(env, dispose, "dispose"));
  return handle;
}

// decoderLayers(layers, config): { step, dispose }
Napi::Value MakeDecoderLayers(const Napi::CallbackInfo& info) {
  const Args args("decoderLayers", info);
  std::vector<LayerWeights> layers;
  for (const Options& layer : args.List(0, "layers")) layers.push_back(ReadLayer(layer, layer.Object("mlp")));
  const auto state = std::make_shared<std::unique_ptr<DecoderLayers>>(
      std::make_unique<DecoderLayers>(ReadConfig(args.op(), args.Options(1, "config")), layers));
  const Napi::Object handle = Handle(info.Env(), state);
  // step(x, cos, sin, keys, values, start, boundaries, aux)
  Method(handle, "step", state, [](DecoderLayers& decoder, const Args& call) -> Napi::Value {
    const std::vector<Tensor> keys = call.Tensors(3, "keys"), values = call.Tensors(4, "values");
    if (keys.size() != values.size()) {
      Fail("step", std::to_string(keys.size()) + " values, as there are keys", std::to_string(values.size()));
    }
    std::vector<LayerCache> caches;
    caches.reserve(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) caches.push_back({keys[i], values[i]});
    decoder.Step(call.Tensor(0, "x"), {{call.Tensor(1, "cos"), call.Tensor(2, "sin")}, call.Int(5, "start")},
                 caches, call.Ints(6, "boundaries"), call.OptionalTensor(7, "aux"));
    return call.env().Undefined();
  });
  return handle;
}

// draftChain(weights, config): { propose, dispose }
Napi::Value MakeDraftChain(const Napi::CallbackInfo& info) {
  const Args args("draftChain", info);
  const Options weights = args.Options(0, "weights");
  DraftWeights draft;
  draft.fc = weights.RequiredTensor("fc");
  draft.input_norm = weights.RequiredTensor("inputNorm");
  draft.hidden_norm = weights.RequiredTensor("hiddenNorm");
  draft.norm = weights.RequiredTensor("norm");
  draft.lm_head = weights.RequiredTensor("lmHead");
  draft.embed_tokens = weights.RequiredTensor("embedTokens");
  draft.target_ids = weights.RequiredTensor("targetIds");
  draft.layer = ReadLayer(weights, weights);
  draft.layer.input_norm = Tensor();
  const auto state = std::make_shared<std::unique_ptr<DraftChain>>(
      std::make_unique<DraftChain>(ReadConfig(args.op(), args.Options(1, "config")), draft));
  const Napi::Object handle = Handle(info.Env(), state);
  // propose(features, embeddings, cos, sin, keys, values, start, count)
  Method(handle, "propose", state, [](DraftChain& chain, const Args& call) -> Napi::Value {
    const std::vector<int32_t> ids =
        chain.Propose(call.Tensor(0, "features"), call.Tensor(1, "embeddings"),
                      {{call.Tensor(2, "cos"), call.Tensor(3, "sin")}, call.Int(6, "start")},
                      {call.Tensor(4, "keys"), call.Tensor(5, "values")}, call.Int(7, "count"));
    auto array = Napi::Int32Array::New(call.env(), ids.size());
    std::copy(ids.begin(), ids.end(), array.Data());
    return array;
  });
  return handle;
}

}  // namespace

void InitDecoding(Napi::Env, Napi::Object exports) {
  Export<MakeDecoderLayers>(exports, "decoderLayers");
  Export<MakeDraftChain>(exports, "draftChain");
}

}  // namespace eyas
