#include "core/tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "core/backend.h"
#include "core/check.h"

namespace eyas {

namespace {

Dims RowMajorStrides(const Dims& shape) {
  Dims strides = shape;
  int64_t step = 1;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

// Number of elements; throws where a size is negative or the byte count would overflow.
int64_t CheckedSize(const Dims& shape, DType dtype) {
  const int64_t limit = std::numeric_limits<int64_t>::max() / static_cast<int64_t>(DTypeSize(dtype));
  int64_t size = 1;
  for (const int64_t n : shape) {
    if (n < 0) Fail("tensor", "sizes of 0 or more", shape.ToString());
    if (n > 0 && size > limit / n) Fail("tensor", "a size that fits in memory", shape.ToString());
    size *= n;
  }
  return size;
}

int ResolveDim(const char* op, const Tensor& tensor, int64_t dim) {
  const int64_t rank = tensor.rank();
  if (dim < -rank || dim >= rank) {
    Fail(op, "a dimension of " + tensor.ToString(), std::to_string(dim));
  }
  return static_cast<int>(dim < 0 ? dim + rank : dim);
}

}  // namespace

Dims::Dims(std::initializer_list<int64_t> values) {
  for (const int64_t value : values) push_back(value);
}

void Dims::push_back(int64_t value) {
  if (rank_ == kMaxRank) Fail("tensor", "at most " + std::to_string(kMaxRank) + " dimensions", "more");
  values_[rank_++] = value;
}

bool Dims::operator==(const Dims& other) const {
  return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

int64_t Dims::Product() const {
  int64_t product = 1;
  for (const int64_t value : *this) product *= value;
  return product;
}

std::string Dims::ToString() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) out += ",";
    out += std::to_string(values_[i]);
  }
  return out + "]";
}

const char* DeviceName(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

Storage::Storage(size_t bytes, Device device)
    : data_(BackendOf(device).Allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() { BackendOf(device_).Release(data_, bytes_); }

void Storage::SetMirror(const void* bytes) {
  mirror_ = std::make_unique<char[]>(bytes_);
  std::memcpy(mirror_.get(), bytes, bytes_);
}

Tensor::Tensor(const Dims& shape, DType dtype, Device device)
    : dtype_(dtype), shape_(shape), strides_(RowMajorStrides(shape)), size_(CheckedSize(shape, dtype)) {
  storage_ = std::make_shared<Storage>(bytes(), device);
}

Tensor Tensor::Zeros(const Dims& shape, DType dtype, Device device) {
  const Tensor out(shape, dtype, device);
  BackendOf(device).Fill(out, 0);
  return out;
}

bool Tensor::Overlaps(const Tensor& other) const {
  if (storage_ != other.storage_ || size_ == 0 || other.size_ == 0) return false;
  // Strides are never negative, so the last element is the one with the highest address.
  const auto last = [](const Tensor& tensor) {
    int64_t index = tensor.offset_;
    for (int d = 0; d < tensor.rank(); ++d) index += (tensor.shape_[d] - 1) * tensor.strides_[d];
    return index;
  };
  return offset_ <= last(other) && other.offset_ <= last(*this);
}

Tensor Tensor::Narrow(int64_t dim, int64_t start, int64_t length) const {
  const int d = ResolveDim("narrow", *this, dim);
  if (start < 0 || length < 0 || start > shape_[d] - length) {
    Fail("narrow", "a range within 0 to " + std::to_string(shape_[d]) + " of dimension " + std::to_string(d),
         "start " + std::to_string(start) + " and length " + std::to_string(length));
  }
  Tensor view = *this;
  view.shape_[d] = length;
  view.size_ = view.shape_.Product();
  if (view.size_ > 0) view.offset_ += start * strides_[d];
  return view;
}

Tensor Tensor::Transpose(int64_t dim0, int64_t dim1) const {
  const int d0 = ResolveDim("transpose", *this, dim0);
  const int d1 = ResolveDim("transpose", *this, dim1);
  Tensor view = *this;
  std::swap(view.shape_[d0], view.shape_[d1]);
  std::swap(view.strides_[d0], view.strides_[d1]);
  return view;
}

Tensor Tensor::Reshape(Dims shape) const {
  if (!contiguous()) {
    Fail("reshape", "a contiguous tensor", ToString() + " with strides " + strides_.ToString());
  }
  int wildcard = -1;
  int64_t known = 1;
  const std::string wanted = shape.ToString();
  for (int d = 0; d < shape.rank(); ++d) {
    if (shape[d] == -1 && wildcard < 0) {
      wildcard = d;
    } else if (shape[d] < 0) {
      Fail("reshape", "sizes of 0 or more and at most one -1", wanted);
    } else {
      known *= shape[d];
    }
  }
  if (wildcard >= 0 && known > 0) shape[wildcard] = size_ / known;
  if (shape.Product() != size_) Fail("reshape", "a shape of " + std::to_string(size_) + " elements", wanted);
  Tensor view = *this;
  view.shape_ = shape;
  view.strides_ = RowMajorStrides(shape);
  return view;
}

Tensor Tensor::Expand(const Dims& shape) const {
  assert(size_ == 1);
  Tensor view = *this;
  view.shape_ = shape;
  view.strides_ = shape;
  for (int d = 0; d < shape.rank(); ++d) view.strides_[d] = 0;
  view.size_ = shape.Product();
  return view;
}

std::string Tensor::ToString() const { return std::string(DTypeName(dtype_)) + " " + shape_.ToString(); }

}  // namespace eyas
