#pragma once

#include <string>

#include "core/tensor.h"

namespace eyas {

// Reads a tensor at a byte offset of a file, converting from file_dtype, which is the name of a DType or
// "float16". Little-endian. A file that cannot be opened or is too short throws std::runtime_error, which
// names file, offset and bytes.
Tensor ReadTensor(const std::string& path, int64_t byte_offset, const Dims& shape,
                  const std::string& file_dtype, DType dtype, Device device = Device::kCpu);

// Writes the elements in row-major order at a byte offset of an open file; returns the number of bytes.
int64_t WriteTensor(int fd, int64_t byte_offset, const Tensor& tensor);

}  // namespace eyas
