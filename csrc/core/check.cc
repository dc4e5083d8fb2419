#include "core/check.h"

#include <stdexcept>

namespace eyas {

void Fail(const char* op, const std::string& expected, const std::string& received) {
  throw std::invalid_argument("[" + std::string(op) + "] expected " + expected + ", received " + received);
}

void ExpectDType(const char* op, const char* name, const Tensor& tensor, DType dtype) {
  if (tensor.dtype() != dtype) {
    Fail(op, std::string(DTypeName(dtype)) + " for " + name, tensor.ToString());
  }
}

void ExpectFloating(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.dtype() != DType::kFloat32 && tensor.dtype() != DType::kBFloat16) {
    Fail(op, std::string("float32 or bfloat16 for ") + name, tensor.ToString());
  }
}

void ExpectInteger(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.dtype() != DType::kInt32 && tensor.dtype() != DType::kInt64) {
    Fail(op, std::string("int32 or int64 for ") + name, tensor.ToString());
  }
}

void ExpectRank(const char* op, const char* name, const Tensor& tensor, int rank) {
  if (tensor.rank() != rank) {
    Fail(op, std::to_string(rank) + " dimensions for " + name, tensor.ToString());
  }
}

void ExpectShape(const char* op, const char* name, const Tensor& tensor, const Dims& shape) {
  bool same = tensor.rank() == shape.rank();
  for (int d = 0; same && d < shape.rank(); ++d) same = shape[d] == -1 || shape[d] == tensor.shape()[d];
  if (!same) Fail(op, "shape " + shape.ToString() + " for " + name, tensor.ToString());
}

void ExpectContiguous(const char* op, const char* name, const Tensor& tensor) {
  if (!tensor.contiguous()) {
    Fail(op, std::string("a contiguous tensor for ") + name,
         tensor.ToString() + " with strides " + tensor.strides().ToString());
  }
}

void ExpectApart(const char* op, const Tensor& out, const Tensor& input) {
  if (out.Overlaps(input)) Fail(op, "an out apart from the inputs", "memory of " + input.ToString());
}

Backend& BackendFor(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Tensor* first = nullptr;
  for (const Tensor* tensor : tensors) {
    if (!tensor->defined()) continue;
    if (first == nullptr) first = tensor;
    if (tensor->device() != first->device()) {
      Fail(op, std::string("all tensors on ") + DeviceName(first->device()),
           tensor->ToString() + " on " + DeviceName(tensor->device()));
    }
  }
  return BackendOf(first->device());
}

Tensor FloatsFor(const char* op, const Tensor& out, const Dims& shape,
                 std::initializer_list<const Tensor*> inputs) {
  if (!out.defined()) return Tensor(shape, DType::kFloat32, (*inputs.begin())->device());
  ExpectDType(op, "out", out, DType::kFloat32);
  ExpectShape(op, "out", out, shape);
  ExpectContiguous(op, "out", out);
  for (const Tensor* input : inputs) ExpectApart(op, out, *input);
  return out;
}

}  // namespace eyas
