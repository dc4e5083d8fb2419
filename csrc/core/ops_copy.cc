#include <cstring>

#include "core/check.h"
#include "core/ops.h"

namespace eyas {

Tensor Cast(const Tensor& tensor, DType dtype) {
  Tensor out(tensor.shape(), dtype, tensor.device());
  BackendOf(tensor.device()).Copy(tensor, out);
  return out;
}

Tensor Contiguous(const Tensor& tensor) {
  return tensor.contiguous() ? tensor : Cast(tensor, tensor.dtype());
}

Tensor ToDevice(const Tensor& tensor, Device device) {
  if (tensor.device() == device) return tensor;
  const Tensor source = Contiguous(tensor);
  Tensor out(source.shape(), source.dtype(), device);
  if (device == Device::kCpu) {
    BackendOf(source.device()).Download(out.raw(), source.raw(), source.bytes());
  } else {
    BackendOf(device).Upload(out.raw(), source.raw(), source.bytes());
    const bool ids = source.dtype() == DType::kInt32 || source.dtype() == DType::kInt64;
    if (ids) out.storage().SetMirror(source.raw());
  }
  return out;
}

std::vector<int64_t> HostInts(const Tensor& tensor) {
  const Tensor ints = tensor.host() == nullptr ? ToDevice(tensor, Device::kCpu) : tensor;
  std::vector<int64_t> out(static_cast<size_t>(ints.size()));
  for (int64_t i = 0; i < ints.size(); ++i) {
    const int64_t at = i * ints.stride(0);
    out[static_cast<size_t>(i)] = ints.dtype() == DType::kInt32
                                      ? static_cast<const int32_t*>(ints.host())[at]
                                      : static_cast<const int64_t*>(ints.host())[at];
  }
  return out;
}

void Copy(const Tensor& source, const Tensor& destination) {
  ExpectShape("copyFrom", "source", source, destination.shape());
  destination.storage().DropMirror();
  const Tensor near = ToDevice(source, destination.device());
  // Views that overlap go through a copy.
  BackendOf(destination.device())
      .Copy(near.Overlaps(destination) ? Cast(near, destination.dtype()) : near, destination);
}

void Fill(const Tensor& tensor, double value) {
  tensor.storage().DropMirror();
  BackendOf(tensor.device()).Fill(tensor, value);
}

Tensor RandomNormal(const Dims& shape, double std, uint64_t seed, Device device) {
  Tensor out(shape, DType::kFloat32, device);
  BackendOf(device).RandomNormal(out.data<float>(), out.size(), std, seed);
  return out;
}

}  // namespace eyas
