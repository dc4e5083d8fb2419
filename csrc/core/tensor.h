#pragma once

#include <array>
#include <cassert>
#include <initializer_list>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/dtype.h"

namespace eyas {

constexpr int kMaxRank = 8;

// Sizes or strides of a tensor, without a heap allocation.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return values_[i]; }
  int64_t& operator[](int i) { return values_[i]; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + rank_; }
  // Throws std::invalid_argument past kMaxRank.
  void push_back(int64_t value);
  bool operator==(const Dims& other) const;
  bool operator!=(const Dims& other) const { return !(*this == other); }
  // Product of the entries; 1 for rank 0.
  int64_t Product() const;
  // "[2,3]"
  std::string ToString() const;

 private:
  std::array<int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

// One block of memory, shared by a tensor and its views.
class Storage {
 public:
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // The same bytes in the host's memory, or nullptr: ids that come from there need not be fetched to be
  // checked.
  const void* mirror() const { return mirror_.get(); }
  void SetMirror(const void* bytes);
  // Called by who writes the memory.
  void DropMirror() { mirror_.reset(); }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  std::unique_ptr<char[]> mirror_;
};

// A value that names elements in shared memory: copies of a Tensor are the same elements. New tensors are
// contiguous in row-major order; Narrow and Transpose make strided views. A default-constructed Tensor is
// "absent" (defined() is false) and stands for an argument that was not given.
class Tensor {
 public:
  Tensor() = default;
  // Elements are not initialised.
  Tensor(const Dims& shape, DType dtype, Device device = Device::kCpu);
  static Tensor Zeros(const Dims& shape, DType dtype, Device device = Device::kCpu);

  bool defined() const { return storage_ != nullptr; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  const Dims& shape() const { return shape_; }
  // In elements.
  const Dims& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  // Negative dimensions count from the end.
  int64_t dim(int d) const { return shape_[d < 0 ? d + rank() : d]; }
  int64_t stride(int d) const { return strides_[d < 0 ? d + rank() : d]; }
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * DTypeSize(dtype_); }

  // Whether the elements of each slice of the last `trailing` dimensions lie side by side in row-major order.
  bool ContiguousFrom(int trailing) const {
    int64_t step = 1;
    for (int d = rank() - 1; d >= rank() - trailing; --d) {
      // The stride of a dimension of size one is never used.
      if (shape_[d] != 1 && strides_[d] != step) return size_ == 0;
      step *= shape_[d];
    }
    return true;
  }
  bool contiguous() const { return ContiguousFrom(rank()); }
  // Whether no other tensor shares the memory.
  bool UniqueStorage() const { return storage_.use_count() == 1; }
  size_t storage_bytes() const { return storage_->bytes(); }
  // Whether the memory from first to last element overlaps that of another tensor.
  bool Overlaps(const Tensor& other) const;

  // First element. T must be the C++ type of dtype().
  template <typename T>
  T* data() const {
    assert(DTypeOf<T>::value == dtype_);
    return static_cast<T*>(raw());
  }
  void* raw() const { return static_cast<char*>(storage_->data()) + offset_ * DTypeSize(dtype_); }
  // The first element in the host's memory: raw() on the CPU, else in the mirror or nullptr.
  const void* host() const {
    if (device() == Device::kCpu) return raw();
    const auto* mirror = static_cast<const char*>(storage_->mirror());
    return mirror == nullptr ? nullptr : mirror + offset_ * DTypeSize(dtype_);
  }
  Storage& storage() const { return *storage_; }

  // Views; arguments out of range throw std::invalid_argument.
  Tensor Narrow(int64_t dim, int64_t start, int64_t length) const;
  Tensor Transpose(int64_t dim0, int64_t dim1) const;
  // The tensor must be contiguous; one entry may be -1.
  Tensor Reshape(Dims shape) const;
  // A view of one element repeated over a shape, for reading only.
  Tensor Expand(const Dims& shape) const;

  // "float32 [2,3]"
  std::string ToString() const;

 private:
  std::shared_ptr<Storage> storage_;
  DType dtype_ = DType::kFloat32;
  Dims shape_;
  Dims strides_;
  int64_t size_ = 0;
  int64_t offset_ = 0;
};

}  // namespace eyas
