#include "core/draft_chain.h"

#include <string>

#include "core/check.h"
#include "core/vocabulary.h"
#include "cpu/norm.h"

namespace eyas {

namespace {

constexpr const char* kMake = "draftChain";
constexpr const char* kPropose = "propose";

Tensor NormOf(const char* name, const Tensor& weight, int64_t size) {
  ExpectFloating(kMake, name, weight);
  ExpectShape(kMake, name, weight, {size});
  return Contiguous(Cast(weight, DType::kFloat32));
}

void ExpectMatrix(const char* name, const Tensor& weight, const Dims& shape) {
  ExpectFloating(kMake, name, weight);
  ExpectShape(kMake, name, weight, shape);
  ExpectContiguous(kMake, name, weight);
}

void ExpectFloats(const char* name, const Tensor& tensor, const Dims& shape) {
  ExpectDType(kPropose, name, tensor, DType::kFloat32);
  ExpectShape(kPropose, name, tensor, shape);
  ExpectContiguous(kPropose, name, tensor);
}

StepRows Part(const StepRows& rows, int64_t from, int64_t count) {
  return {{rows.tables.cos.Narrow(0, from, count), rows.tables.sin.Narrow(0, from, count)},
          rows.start + from};
}

}  // namespace

DraftChain::DraftChain(const LayerConfig& config, const DraftWeights& weights)
    : config_(config), weights_(weights), layer_(kMake, config, weights.layer, 2 * config.hidden_size) {
  const int64_t h = config.hidden_size;
  DraftWeights& w = weights_;
  BackendFor(kMake, {&w.layer.qkv, &w.fc, &w.input_norm, &w.hidden_norm, &w.norm, &w.lm_head, &w.embed_tokens,
                     &w.target_ids});
  ExpectMatrix("fc", w.fc, {h, -1});
  ExpectMatrix("lmHead", w.lm_head, {-1, h});
  ExpectMatrix("embedTokens", w.embed_tokens, {-1, h});
  w.input_norm = NormOf("inputNorm", w.input_norm, h);
  w.hidden_norm = NormOf("hiddenNorm", w.hidden_norm, h);
  w.norm = NormOf("norm", w.norm, h);
  ExpectDType(kMake, "targetIds", w.target_ids, DType::kInt32);
  ExpectShape(kMake, "targetIds", w.target_ids, {w.lm_head.dim(0)});
  w.target_ids = Contiguous(w.target_ids);
  for (int64_t i = 0; i < w.target_ids.size(); ++i) {
    const int32_t id = w.target_ids.data<int32_t>()[i];
    if (id < 0 || id >= w.embed_tokens.dim(0)) {
      Fail(kMake, "ids of embedTokens " + w.embed_tokens.ToString() + " for targetIds", std::to_string(id));
    }
  }
}

void DraftChain::WriteInput(const float* embedding, const float* hidden, float* input) const {
  const int64_t h = config_.hidden_size;
  const float eps = static_cast<float>(config_.eps);
  cpu::RmsNorm({1, h}, embedding, weights_.input_norm.data<float>(), eps, input);
  cpu::RmsNorm({1, h}, hidden, weights_.hidden_norm.data<float>(), eps, input + h);
}

std::vector<int32_t> DraftChain::Propose(const Tensor& features, const Tensor& embeddings,
                                         const StepRows& rows, const LayerCache& cache, int64_t count) {
  const int64_t h = config_.hidden_size, n = features.rank() == 2 ? features.dim(0) : 0;
  BackendFor(kPropose, {&weights_.fc, &features, &embeddings});
  ExpectFloats("features", features, {-1, weights_.fc.dim(1)});
  if (n < 1) Fail(kPropose, "at least one row of features", features.ToString());
  ExpectFloats("embeddings", embeddings, {n, h});
  if (count < 1) Fail(kPropose, "a count of 1 or more", std::to_string(count));
  layer_.Check(kPropose, rows, cache);
  if (rows.count() != n + count - 1) {
    Fail(kPropose, "cos of " + std::to_string(n + count - 1) + " rows", rows.tables.cos.ToString());
  }

  MatmulArgs transposed;
  transposed.transpose_b = true;
  const Tensor hidden = Matmul(features, weights_.fc, transposed);
  const int64_t known = n - 1;
  if (known > 0) {
    const Tensor input({known, 2 * h}, DType::kFloat32);
    for (int64_t i = 0; i < known; ++i) {
      WriteInput(embeddings.data<float>() + i * h, hidden.data<float>() + i * h,
                 input.data<float>() + i * 2 * h);
    }
    layer_.Store(input, Part(rows, 0, known), cache);
  }

  StepBuffers& buffers = workspace_.Of(config_, 1);
  const Tensor x = hidden.Narrow(0, known, 1), normed({1, h}, DType::kFloat32);
  const Tensor input({1, 2 * h}, DType::kFloat32);
  Tensor embedding = embeddings.Narrow(0, known, 1);
  std::vector<int32_t> proposals;
  for (int64_t k = 0; k < count; ++k) {
    WriteInput(embedding.data<float>(), x.data<float>(), input.data<float>());
    layer_.Step(input, x, Part(rows, known + k, 1), cache, buffers);
    cpu::RmsNorm({1, h}, x.data<float>(), weights_.norm.data<float>(), static_cast<float>(config_.eps),
                 normed.data<float>());
    const Tensor best = LinearArgmax(normed, weights_.lm_head);
    proposals.push_back(weights_.target_ids.data<int32_t>()[best.data<int32_t>()[0]]);
    if (k + 1 < count)
      embedding = Cast(weights_.embed_tokens.Narrow(0, proposals.back(), 1), DType::kFloat32);
  }
  return proposals;
}

}  // namespace eyas
