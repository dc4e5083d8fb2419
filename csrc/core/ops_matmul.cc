#include <tuple>

#include "core/check.h"
#include "core/ops.h"
#include "cpu/gemm.h"
#include "cpu/gemm_panels.h"

namespace eyas {

namespace {

constexpr const char* kOp = "matmul";

// Cast of a matrix that stays transposed in memory if it was: the copy walks memory in order.
Tensor CastInPlaceOrder(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor;
  if (tensor.stride(0) == 1) return Cast(tensor.Transpose(0, 1), dtype).Transpose(0, 1);
  return Cast(tensor, dtype);
}

// `out`, or a new tensor without one.
Tensor ProductFor(const char* op, const Tensor& out, int64_t m, int64_t n, Device device) {
  if (!out.defined()) return Tensor({m, n}, DType::kFloat32, device);
  ExpectDType(op, "out", out, DType::kFloat32);
  ExpectShape(op, "out", out, {m, n});
  if (!out.ContiguousFrom(1)) Fail(op, "contiguous rows for out", "strides " + out.strides().ToString());
  return out;
}

}  // namespace

Tensor Matmul(const Tensor& a_argument, const Tensor& b_argument, const MatmulArgs& args) {
  ExpectFloating(kOp, "a", a_argument);
  ExpectFloating(kOp, "b", b_argument);
  ExpectRank(kOp, "a", a_argument, 2);
  ExpectRank(kOp, "b", b_argument, 2);
  Tensor a = args.transpose_a ? a_argument.Transpose(0, 1) : a_argument;
  Tensor b = args.transpose_b ? b_argument.Transpose(0, 1) : b_argument;
  const int64_t m = a.dim(0);
  const int64_t k = a.dim(1);
  const int64_t n = b.dim(1);
  if (b.dim(0) != k) {
    Fail(kOp,
         "b with " + std::to_string(k) + (args.transpose_b ? " columns" : " rows") + " for a " +
             a_argument.ToString() + (args.transpose_a ? " transposed" : ""),
         b_argument.ToString());
  }
  if (args.bias.defined()) {
    ExpectDType(kOp, "bias", args.bias, DType::kFloat32);
    ExpectShape(kOp, "bias", args.bias, {n});
    ExpectContiguous(kOp, "bias", args.bias);
  }
  if (args.accumulate && !args.out.defined()) Fail(kOp, "out with accumulate", "none");
  const bool rounded = a.dtype() == DType::kBFloat16 || b.dtype() == DType::kBFloat16;
  if (args.panels.defined()) {
    ExpectDType(kOp, "panels", args.panels, rounded ? DType::kBFloat16 : DType::kFloat32);
    ExpectShape(kOp, "panels", args.panels, cpu::PanelShape(k, n, args.panels.dtype()));
    ExpectContiguous(kOp, "panels", args.panels);
  }
  const Tensor out = ProductFor(kOp, args.out, m, n, a.device());
  if (out.Overlaps(a)) a = Cast(a, a.dtype());
  if (out.Overlaps(b)) b = Cast(b, b.dtype());
  if (m == 0 || n == 0) return out;
  if (k == 0) {
    if (!args.accumulate) Fill(out, 0);
    if (args.bias.defined()) {
      for (int64_t i = 0; i < m; ++i) AddInPlace(out.Narrow(0, i, 1).Reshape({n}), args.bias, 1);
    }
    return out;
  }
  Backend& backend = BackendFor(kOp, {&a, &b, &args.bias, &out, &args.panels});
  const bool few = a.device() == Device::kCpu && m <= cpu::kMaxGemmRows;
  if (rounded) {
    if (few || !args.panels.defined()) b = CastInPlaceOrder(b, DType::kBFloat16);
    // GemmRows rounds a itself.
    if (!few) a = CastInPlaceOrder(a, DType::kBFloat16);
    if (!few && !backend.MultipliesBFloat16()) {
      a = CastInPlaceOrder(a, DType::kFloat32);
      b = CastInPlaceOrder(b, DType::kFloat32);
    }
  }
  backend.Gemm(
      {a, b, args.bias.defined() ? args.bias.data<float>() : nullptr, out, args.accumulate, args.panels});
  return out;
}

Tensor MatmulPanels(const Tensor& b, bool transpose_b) {
  const char* op = "matmulPanels";
  ExpectFloating(op, "b", b);
  ExpectRank(op, "b", b, 2);
  const Tensor right = transpose_b ? b.Transpose(0, 1) : b;
  if (right.size() == 0 || right.device() != Device::kCpu || !cpu::GemmReadsPanels(right.dtype())) {
    return Tensor();
  }
  return cpu::PackPanels(right);
}

Tensor MatmulTransposed(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const Tensor& out,
                        bool accumulate) {
  const char* op = "matmulTransposed";
  if (a.empty() || a.size() != b.size()) {
    Fail(op, "one or more a and as many b", std::to_string(a.size()) + " and " + std::to_string(b.size()));
  }
  if (accumulate && !out.defined()) Fail(op, "out with accumulate", "none");
  const DType dtype = a[0].dtype();
  int64_t k = 0;
  const int64_t m = a[0].dim(-1), n = b[0].dim(-1);
  for (size_t i = 0; i < a.size(); ++i) {
    BackendFor(op, {&a[0], &a[i], &b[i], &out});
    for (const auto& [name, x, width] : {std::tuple("a", &a[i], m), std::tuple("b", &b[i], n)}) {
      ExpectFloating(op, name, *x);
      ExpectDType(op, name, *x, dtype);
      ExpectShape(op, name, *x, {a[i].dim(0), width});
    }
    k += a[i].dim(0);
  }
  MatmulArgs args;
  args.transpose_a = true;
  args.out = out;
  args.accumulate = accumulate;
  if (a.size() == 1) return Matmul(a[0], b[0], args);
  // A product of each part would read and write the result once more: on a GPU copying the parts costs less.
  if (a[0].device() != Device::kCpu || k == 0 || m <= cpu::kMaxGemmRows || !cpu::GemmReadsPanels(dtype)) {
    return Matmul(Concatenate(a, 0), Concatenate(b, 0), args);
  }
  const Tensor result = ProductFor(op, out, m, n, Device::kCpu);
  cpu::MatrixRows left, right;
  std::vector<Tensor> copies;
  const auto append = [&](const Tensor& x, cpu::MatrixRows& rows) {
    ExpectApart(op, result, x);
    copies.push_back(x.ContiguousFrom(1) ? x : Contiguous(x));
    rows.Append(copies.back());
  };
  for (const Tensor& x : a) append(x, left);
  for (const Tensor& x : b) append(x, right);
  cpu::GemmOneDnn({cpu::TransposeRows(left), Tensor(), nullptr, result, accumulate, cpu::PackPanels(right)});
  return result;
}

}  // namespace eyas
