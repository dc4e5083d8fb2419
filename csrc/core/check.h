#pragma once

#include <initializer_list>
#include <string>

#include "core/backend.h"
#include "core/tensor.h"

// Argument checks of the ops. All throw std::invalid_argument "[op] expected …, received …".

namespace eyas {

[[noreturn]] void Fail(const char* op, const std::string& expected, const std::string& received);

void ExpectDType(const char* op, const char* name, const Tensor& tensor, DType dtype);
// float32 or bfloat16
void ExpectFloating(const char* op, const char* name, const Tensor& tensor);
// int32 or int64
void ExpectInteger(const char* op, const char* name, const Tensor& tensor);
void ExpectRank(const char* op, const char* name, const Tensor& tensor, int rank);
// -1 matches any size.
void ExpectShape(const char* op, const char* name, const Tensor& tensor, const Dims& shape);
void ExpectContiguous(const char* op, const char* name, const Tensor& tensor);
void ExpectApart(const char* op, const Tensor& out, const Tensor& input);
// The backend of the tensors' device, which must be one; those that are absent do not count.
Backend& BackendFor(const char* op, std::initializer_list<const Tensor*> tensors);
// A new float32 tensor on the inputs' device where `out` is absent, else `out`: contiguous, of that shape,
// apart from the inputs.
Tensor FloatsFor(const char* op, const Tensor& out, const Dims& shape,
                 std::initializer_list<const Tensor*> inputs);

}  // namespace eyas
