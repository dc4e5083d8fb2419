#include "core/check.h"
#include "core/ops.h"
#include "cpu/copy.h"
#include "cpu/random.h"

namespace eyas {

Tensor Cast(const Tensor& tensor, DType dtype) {
  Tensor out(tensor.shape(), dtype);
  cpu::Copy(tensor, out);
  return out;
}

Tensor Contiguous(const Tensor& tensor) {
  return tensor.contiguous() ? tensor : Cast(tensor, tensor.dtype());
}

void Copy(const Tensor& source, const Tensor& destination) {
  ExpectShape("copyFrom", "source", source, destination.shape());
  // Views that overlap go through a copy.
  cpu::Copy(source.Overlaps(destination) ? Cast(source, destination.dtype()) : source, destination);
}

void Fill(const Tensor& tensor, double value) { cpu::Fill(tensor, value); }

Tensor RandomNormal(const Dims& shape, double std, uint64_t seed) {
  Tensor out(shape, DType::kFloat32);
  cpu::RandomNormal(out.data<float>(), out.size(), std, seed);
  return out;
}

}  // namespace eyas
