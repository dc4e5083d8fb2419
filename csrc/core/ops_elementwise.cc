#include "core/check.h"
#include "core/ops.h"

namespace eyas {

namespace {

void ExpectSameFloats(const char* op, const Tensor& a, const char* name, const Tensor& b) {
  ExpectDType(op, name, b, DType::kFloat32);
  ExpectShape(op, name, b, a.shape());
}

// Rows of width dim(-1) of a tensor whose leading dimensions are evenly spaced, such as a part of a fused
// projection: gives the distance of rows, or copies what is laid out otherwise.
int64_t RowStride(Tensor* tensor) {
  if (tensor->rank() == 2 && tensor->ContiguousFrom(1)) return tensor->stride(0);
  *tensor = Contiguous(*tensor);
  return tensor->rank() == 0 ? 1 : tensor->dim(-1);
}

GatedRows MakeGatedRows(const char* op, Tensor* gate, Tensor* up) {
  ExpectDType(op, "gate", *gate, DType::kFloat32);
  ExpectSameFloats(op, *gate, "up", *up);
  const int64_t gate_stride = RowStride(gate);
  const int64_t up_stride = RowStride(up);
  const int64_t width = gate->rank() == 0 ? 1 : gate->dim(-1);
  const int64_t rows = gate->size() == 0 ? 0 : gate->size() / width;
  return {gate->data<float>(), gate_stride, up->data<float>(), up_stride, rows, width};
}

}  // namespace

Activation ParseActivation(const char* op, const char* name, const std::string& kind) {
  if (kind == "silu") return Activation::kSilu;
  if (kind == "gelu") return Activation::kGelu;
  if (kind == "gelu_tanh") return Activation::kGeluTanh;
  if (kind == "quick_gelu") return Activation::kQuickGelu;
  Fail(op, "silu, gelu, gelu_tanh or quick_gelu for " + std::string(name), "'" + kind + "'");
}

Tensor Add(const Tensor& a, const Tensor& b) {
  ExpectDType("add", "a", a, DType::kFloat32);
  ExpectSameFloats("add", a, "b", b);
  Backend& backend = BackendFor("add", {&a, &b});
  const Tensor left = Contiguous(a);
  const Tensor right = Contiguous(b);
  Tensor out(a.shape(), DType::kFloat32, a.device());
  backend.Add(left.data<float>(), right.data<float>(), out.data<float>(), out.size());
  return out;
}

void AddInPlace(const Tensor& a, const Tensor& b, double alpha) {
  ExpectDType("addInPlace", "a", a, DType::kFloat32);
  ExpectContiguous("addInPlace", "a", a);
  ExpectSameFloats("addInPlace", a, "b", b);
  Backend& backend = BackendFor("addInPlace", {&a, &b});
  const bool shifted = b.Overlaps(a) && b.raw() != a.raw();
  const Tensor source = shifted ? Cast(b, DType::kFloat32) : Contiguous(b);
  backend.AddScaled(a.data<float>(), source.data<float>(), static_cast<float>(alpha), a.size());
}

void ScaleInPlace(const Tensor& a, double factor) {
  ExpectDType("scaleInPlace", "a", a, DType::kFloat32);
  ExpectContiguous("scaleInPlace", "a", a);
  BackendOf(a.device()).Scale(a.data<float>(), static_cast<float>(factor), a.size());
}

Tensor Multiply(const Tensor& a, const Tensor& b) {
  ExpectDType("mul", "a", a, DType::kFloat32);
  ExpectDType("mul", "b", b, DType::kFloat32);
  const bool per_feature = a.rank() > 1 && b.shape() == Dims({a.dim(-1)});
  if (!per_feature && b.shape() != a.shape()) {
    const std::string vector = a.rank() > 1 ? " or " + Dims({a.dim(-1)}).ToString() : "";
    Fail("mul", "shape " + a.shape().ToString() + vector + " for b", b.ToString());
  }
  Backend& backend = BackendFor("mul", {&a, &b});
  const Tensor left = Contiguous(a);
  const Tensor right = Contiguous(b);
  Tensor out(a.shape(), DType::kFloat32, a.device());
  if (per_feature && b.size() > 0) {
    backend.MultiplyRows(left.data<float>(), right.data<float>(), out.data<float>(), out.size() / b.size(),
                         b.size());
  } else {
    backend.Multiply(left.data<float>(), right.data<float>(), out.data<float>(), out.size());
  }
  return out;
}

Tensor Activate(const Tensor& x, Activation kind) {
  ExpectDType("activation", "x", x, DType::kFloat32);
  const Tensor source = Contiguous(x);
  Tensor out(x.shape(), DType::kFloat32, x.device());
  BackendOf(x.device()).Activate(source.data<float>(), kind, out.data<float>(), out.size());
  return out;
}

Tensor GatedActivation(const Tensor& gate_argument, const Tensor& up_argument, Activation kind,
                       const Tensor& out_argument) {
  Tensor gate = gate_argument;
  Tensor up = up_argument;
  const GatedRows rows = MakeGatedRows("gatedActivation", &gate, &up);
  Tensor out = FloatsFor("gatedActivation", out_argument, gate.shape(), {&gate_argument, &up_argument});
  BackendFor("gatedActivation", {&gate, &up, &out}).GatedActivation(rows, kind, out.data<float>());
  return out;
}

GatedGradients GatedActivationBackward(const Tensor& dy, const Tensor& gate_argument,
                                       const Tensor& up_argument, Activation kind,
                                       const Tensor& out_argument) {
  Tensor gate = gate_argument;
  Tensor up = up_argument;
  const GatedRows rows = MakeGatedRows("gatedActivationBackward", &gate, &up);
  ExpectSameFloats("gatedActivationBackward", gate, "dy", dy);
  const Tensor upstream = Contiguous(dy);
  GatedGradients out;
  if (out_argument.defined()) {
    const Tensor both = FloatsFor("gatedActivationBackward", out_argument, {rows.rows, 2 * rows.width},
                                  {&dy, &gate_argument, &up_argument});
    out = {both.Narrow(1, 0, rows.width), both.Narrow(1, rows.width, rows.width)};
  } else {
    out = {Tensor(gate.shape(), DType::kFloat32, gate.device()),
           Tensor(gate.shape(), DType::kFloat32, gate.device())};
  }
  const int64_t stride = out_argument.defined() ? 2 * rows.width : rows.width;
  BackendFor("gatedActivationBackward", {&gate, &up, &upstream, &out.dgate})
      .GatedActivationBackward(rows, upstream.data<float>(), kind, out.dgate.data<float>(),
                               out.dup.data<float>(), stride);
  return out;
}

}  // namespace eyas
