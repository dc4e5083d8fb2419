#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "core/allocator.h"

namespace eyas::cuda {

// Throws std::runtime_error with the text of the call.
void Check(cudaError_t error, const char* call);
#define EYAS_CUDA(call) ::eyas::cuda::Check((call), #call)

class DeviceAllocator;
class Staging;

// One GPU: its compute stream, on which everything runs in the order in which it is asked for, its copy
// stream, and its memory.
class Runtime {
 public:
  // Made by Open, for the life of the process.
  static Runtime& Get();
  static void Open(int device);

  cudaStream_t stream() const {
    UseDevice();
    return compute_;
  }
  int multiprocessors() const { return multiprocessors_; }
  // Bytes of shared memory that a block, and all blocks of a multiprocessor, can have.
  size_t shared_of_block() const { return shared_of_block_; }
  size_t shared_of_multiprocessor() const { return shared_of_multiprocessor_; }

  // Blocks are used again in the order of the compute stream: released memory may be written by work that is
  // asked for later, while work that was asked for before still reads it.
  void* Allocate(size_t bytes);
  void Release(void* block, size_t bytes) noexcept;
  MemoryStats Memory();
  void ResetPeak();

  // From and to pageable memory of the host, which may change as soon as Upload returns. Large uploads run in
  // parts on the copy stream, between what the compute stream was asked for before and after.
  void Upload(void* to, const void* from, size_t bytes);
  // Waits for what was asked for before.
  void Download(void* to, const void* from, size_t bytes);

 private:
  explicit Runtime(int device);
  // Every thread begins with the first GPU.
  void UseDevice() const;

  int device_;
  int multiprocessors_;
  size_t shared_of_block_;
  size_t shared_of_multiprocessor_;
  cudaStream_t compute_ = nullptr;
  cudaStream_t copy_ = nullptr;
  std::unique_ptr<DeviceAllocator> allocator_;
  std::unique_ptr<Staging> staging_;
  std::mutex mutex_;
};

// Memory of the device for the length of a scope.
class Scratch {
 public:
  explicit Scratch(size_t bytes)
      : bytes_(bytes), data_(bytes == 0 ? nullptr : Runtime::Get().Allocate(bytes)) {}
  ~Scratch() {
    if (data_ != nullptr) Runtime::Get().Release(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace eyas::cuda
