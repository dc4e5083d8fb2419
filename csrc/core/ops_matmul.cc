#include "core/check.h"
#include "core/ops.h"
#include "core/runtime.h"
#include "cpu/gemm.h"

namespace eyas {

namespace {

constexpr const char* kOp = "matmul";

// Cast of a matrix that stays transposed in memory if it was: the copy walks memory in order.
Tensor CastInPlaceOrder(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor;
  if (tensor.stride(0) == 1) return Cast(tensor.Transpose(0, 1), dtype).Transpose(0, 1);
  return Cast(tensor, dtype);
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
  Tensor out = args.out;
  if (out.defined()) {
    ExpectDType(kOp, "out", out, DType::kFloat32);
    ExpectShape(kOp, "out", out, {m, n});
    if (!out.ContiguousFrom(1)) Fail(kOp, "contiguous rows for out", "strides " + out.strides().ToString());
    if (out.Overlaps(a)) a = Cast(a, a.dtype());
    if (out.Overlaps(b)) b = Cast(b, b.dtype());
  } else {
    out = Tensor({m, n}, DType::kFloat32);
  }
  if (m == 0 || n == 0) return out;
  if (k == 0) {
    if (!args.accumulate) Fill(out, 0);
    if (args.bias.defined()) {
      for (int64_t i = 0; i < m; ++i) AddInPlace(out.Narrow(0, i, 1).Reshape({n}), args.bias, 1);
    }
    return out;
  }
  const bool rounded = a.dtype() == DType::kBFloat16 || b.dtype() == DType::kBFloat16;
  const bool few = m <= cpu::kMaxGemmRows;
  if (rounded) {
    b = CastInPlaceOrder(b, DType::kBFloat16);
    // GemmRows rounds a itself.
    if (!few) a = CastInPlaceOrder(a, DType::kBFloat16);
    if (!few && !HasBFloat16Gemm()) {
      a = CastInPlaceOrder(a, DType::kFloat32);
      b = CastInPlaceOrder(b, DType::kFloat32);
    }
  }
  const cpu::GemmProblem problem = {a, b, args.bias.defined() ? args.bias.data<float>() : nullptr, out,
                                    args.accumulate};
  if (few) {
    cpu::GemmRows(problem);
  } else {
    cpu::GemmOneDnn(problem);
  }
  return out;
}

}  // namespace eyas
