#include <utility>

#include "core/check.h"
#include "core/ops.h"

namespace eyas {

namespace {

// Rows of the last dimension.
Rows RowsOf(const char* op, const char* name, const Tensor& x) {
  ExpectDType(op, name, x, DType::kFloat32);
  if (x.rank() == 0) Fail(op, std::string("1 dimension or more for ") + name, x.ToString());
  const int64_t h = x.dim(-1);
  return {h == 0 ? 0 : x.size() / h, h};
}

// A weight as contiguous float32.
Tensor WeightOf(const char* op, const char* name, const Tensor& weight, int64_t h) {
  ExpectFloating(op, name, weight);
  ExpectShape(op, name, weight, {h});
  return weight.dtype() == DType::kFloat32 ? Contiguous(weight) : Cast(weight, DType::kFloat32);
}

void ExpectLike(const char* op, const char* name, const Tensor& tensor, const Tensor& like) {
  ExpectDType(op, name, tensor, DType::kFloat32);
  ExpectShape(op, name, tensor, like.shape());
}

// Where a weight's gradient is added, or nullptr.
float* GradientOf(const char* op, const char* name, const Tensor& gradient, int64_t h) {
  if (!gradient.defined()) return nullptr;
  ExpectDType(op, name, gradient, DType::kFloat32);
  ExpectShape(op, name, gradient, {h});
  ExpectContiguous(op, name, gradient);
  return gradient.data<float>();
}

}  // namespace

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps, const Tensor& out_argument) {
  const Rows rows = RowsOf("rmsNorm", "x", x);
  const Tensor w = weight.defined() ? WeightOf("rmsNorm", "weight", weight, rows.h) : weight;
  const Tensor source = Contiguous(x);
  Tensor out = FloatsFor("rmsNorm", out_argument, x.shape(), {&x});
  if (w.defined()) ExpectApart("rmsNorm", out, w);
  BackendFor("rmsNorm", {&source, &w, &out})
      .RmsNorm(rows, source.data<float>(), w.defined() ? w.data<float>() : nullptr, static_cast<float>(eps),
               out.data<float>());
  return out;
}

void FoldedNormBackward(const FoldedNormArgs& args) {
  constexpr const char* kOp = "foldedNormBackward";
  const auto& [g, weight, norm, dweight, dnorm] = args;
  ExpectDType(kOp, "g", g, DType::kFloat32);
  ExpectRank(kOp, "g", g, 2);
  ExpectContiguous(kOp, "g", g);
  const int64_t h = g.dim(1);
  const Rows rows{g.dim(0), h};
  for (const auto& [name, matrix] : {std::pair("weight", &weight), std::pair("dweight", &dweight)}) {
    ExpectShape(kOp, name, *matrix, g.shape());
    if (!matrix->ContiguousFrom(1)) {
      Fail(kOp, std::string("contiguous rows for ") + name, "strides " + matrix->strides().ToString());
    }
  }
  ExpectFloating(kOp, "weight", weight);
  ExpectDType(kOp, "dweight", dweight, DType::kFloat32);
  const Tensor w = WeightOf(kOp, "norm", norm, h);
  ExpectDType(kOp, "dnorm", dnorm, DType::kFloat32);
  float* gradient = GradientOf(kOp, "dnorm", dnorm, h);
  BackendFor(kOp, {&g, &weight, &w, &dweight, &dnorm})
      .FoldedNormBackward(rows, g.data<float>(), weight, w.data<float>(), dweight.data<float>(),
                          dweight.stride(0), gradient);
}

Tensor RmsNormBackward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps,
                       const Tensor& dweight) {
  constexpr const char* kOp = "rmsNormBackward";
  const Rows rows = RowsOf(kOp, "x", x);
  ExpectLike(kOp, "dy", dy, x);
  const Tensor w = WeightOf(kOp, "weight", weight, rows.h);
  float* gradient = GradientOf(kOp, "dweight", dweight, rows.h);
  const Tensor upstream = Contiguous(dy);
  const Tensor source = Contiguous(x);
  Tensor dx(x.shape(), DType::kFloat32, x.device());
  BackendFor(kOp, {&upstream, &source, &w, &dweight})
      .RmsNormBackward(rows, upstream.data<float>(), source.data<float>(), w.data<float>(),
                       static_cast<float>(eps), dx.data<float>(), gradient);
  return dx;
}

Tensor LayerNorm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Rows rows = RowsOf("layerNorm", "x", x);
  const Tensor w = WeightOf("layerNorm", "weight", weight, rows.h);
  const Tensor b = bias.defined() ? WeightOf("layerNorm", "bias", bias, rows.h) : bias;
  const Tensor source = Contiguous(x);
  Tensor out(x.shape(), DType::kFloat32, x.device());
  BackendFor("layerNorm", {&source, &w, &b})
      .LayerNorm(rows, source.data<float>(), w.data<float>(), b.defined() ? b.data<float>() : nullptr,
                 static_cast<float>(eps), out.data<float>());
  return out;
}

Tensor LayerNormBackward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps,
                         const Tensor& dweight, const Tensor& dbias) {
  constexpr const char* kOp = "layerNormBackward";
  const Rows rows = RowsOf(kOp, "x", x);
  ExpectLike(kOp, "dy", dy, x);
  const Tensor w = WeightOf(kOp, "weight", weight, rows.h);
  float* weight_gradient = GradientOf(kOp, "dweight", dweight, rows.h);
  float* bias_gradient = GradientOf(kOp, "dbias", dbias, rows.h);
  const Tensor upstream = Contiguous(dy);
  const Tensor source = Contiguous(x);
  Tensor dx(x.shape(), DType::kFloat32, x.device());
  BackendFor(kOp, {&upstream, &source, &w, &dweight, &dbias})
      .LayerNormBackward(rows, upstream.data<float>(), source.data<float>(), w.data<float>(),
                         static_cast<float>(eps), dx.data<float>(), weight_gradient, bias_gradient);
  return dx;
}

Tensor Softmax(const Tensor& x) {
  const Rows rows = RowsOf("softmax", "x", x);
  const Tensor source = Contiguous(x);
  Tensor out(x.shape(), DType::kFloat32, x.device());
  BackendOf(x.device()).Softmax(rows, source.data<float>(), out.data<float>());
  return out;
}

Tensor SoftmaxBackward(const Tensor& dy, const Tensor& y) {
  const Rows rows = RowsOf("softmaxBackward", "y", y);
  ExpectLike("softmaxBackward", "dy", dy, y);
  const Tensor upstream = Contiguous(dy);
  const Tensor values = Contiguous(y);
  Tensor dx(y.shape(), DType::kFloat32, y.device());
  BackendFor("softmaxBackward", {&upstream, &values})
      .SoftmaxBackward(rows, upstream.data<float>(), values.data<float>(), dx.data<float>());
  return dx;
}

}  // namespace eyas
