#include "cuda/runtime.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

namespace eyas::cuda {

void Check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("[cuda] ") + call + ": " + cudaGetErrorString(error));
}

namespace {

constexpr size_t kUnit = 512;
// Blocks up to here are parts of segments of one size; larger ones of segments of their own.
constexpr size_t kLargestSmall = 1 << 20;
constexpr size_t kSmallSegment = 2 << 20;
constexpr size_t kLargeUnit = 2 << 20;
// What is left over of a large block is kept as a block of its own from this size on.
constexpr size_t kSmallestRest = 1 << 20;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

// Best fit among the free blocks; neighbours of a segment grow together again when they are free.
class DeviceAllocator {
 public:
  void* Allocate(size_t bytes) {
    const size_t size = SizeOf(bytes);
    const bool small = size <= kLargestSmall;
    Block* block = Take(small, size);
    if (block == nullptr) block = AddSegment(small, size);
    const size_t rest = block->size - size;
    if (rest >= (small ? kUnit : kSmallestRest)) Split(block, size);
    block->used = true;
    used_[block->data] = block;
    // The difference of the two is what alignment costs; what was asked for is what counts.
    live_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, live_);
    return block->data;
  }

  void Release(void* data, size_t bytes) {
    const auto found = used_.find(data);
    Block* block = found->second;
    used_.erase(found);
    live_ -= static_cast<int64_t>(bytes);
    block->used = false;
    block = Merge(block->previous, block);
    block = Merge(block, block->next);
    free_[block->small].insert(block);
  }

  MemoryStats Stats() const { return {live_, peak_}; }
  void ResetPeak() { peak_ = live_; }

 private:
  struct Block {
    char* data;
    size_t size;
    bool small;
    bool used = false;
    Block* previous = nullptr;  // in the segment
    Block* next = nullptr;
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->data < b->data;
    }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  static size_t SizeOf(size_t bytes) { return RoundUp(std::max<size_t>(bytes, 1), kUnit); }

  Block* Take(bool small, size_t size) {
    Block key{nullptr, size, small};
    FreeBlocks& blocks = free_[small];
    const auto found = blocks.lower_bound(&key);
    if (found == blocks.end()) return nullptr;
    Block* block = *found;
    blocks.erase(found);
    return block;
  }

  Block* AddSegment(bool small, size_t size) {
    const size_t bytes = small ? kSmallSegment : RoundUp(size, kLargeUnit);
    void* data = nullptr;
    cudaError_t error = cudaMalloc(&data, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      ReturnSegments();
      error = cudaMalloc(&data, bytes);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw std::runtime_error("[allocate] expected " + std::to_string(bytes) +
                               " bytes of memory on the GPU, received " + std::to_string(free) + " free of " +
                               std::to_string(total) + " (" + std::to_string(live_) + " are in use here)");
    }
    // What a kernel broke before comes out here, too.
    Check(error, "cudaMalloc");
    return new Block{static_cast<char*>(data), bytes, small};
  }

  // Gives segments without a used block back to the driver, which waits for all work.
  void ReturnSegments() {
    for (FreeBlocks& blocks : free_) {
      for (auto at = blocks.begin(); at != blocks.end();) {
        Block* block = *at;
        if (block->previous != nullptr || block->next != nullptr) {
          ++at;
          continue;
        }
        at = blocks.erase(at);
        cudaFree(block->data);
        delete block;
      }
    }
  }

  void Split(Block* block, size_t size) {
    auto* rest = new Block{block->data + size, block->size - size, block->small};
    block->size = size;
    rest->previous = block;
    rest->next = block->next;
    if (rest->next != nullptr) rest->next->previous = rest;
    block->next = rest;
    free_[rest->small].insert(rest);
  }

  // One block of two neighbours, where both are free; returns the one that the released block is part of.
  Block* Merge(Block* left, Block* right) {
    if (left == nullptr) return right;
    if (right == nullptr) return left;
    if (left->used || right->used) return left->used ? right : left;
    // The one that was free before is in the set.
    free_[left->small].erase(left);
    free_[right->small].erase(right);
    left->size += right->size;
    left->next = right->next;
    if (left->next != nullptr) left->next->previous = left;
    delete right;
    return left;
  }

  std::array<FreeBlocks, 2> free_;
  std::unordered_map<void*, Block*> used_;
  int64_t live_ = 0;
  int64_t peak_ = 0;
};

// Pinned memory through which bytes travel: parts that take turns, each free again when its copy is done.
class Staging {
 public:
  static constexpr size_t kPart = 8 << 20;

  Staging() {
    for (Part& part : parts_) EYAS_CUDA(cudaEventCreateWithFlags(&part.done, cudaEventDisableTiming));
    for (Part& part : small_) EYAS_CUDA(cudaEventCreateWithFlags(&part.done, cudaEventDisableTiming));
  }

  struct Part {
    void* data = nullptr;
    cudaEvent_t done = nullptr;
  };

  // The next part, when nothing reads it any more.
  Part& Next() {
    Part& part = parts_[next_++ % parts_.size()];
    Ready(part);
    return part;
  }

  // Room for fewer bytes than a part has, for copies that `stream` makes.
  void* Small(size_t bytes, cudaStream_t stream) {
    const size_t rounded = RoundUp(bytes, 64);
    if (small_used_ + rounded > kPart) {
      EYAS_CUDA(cudaEventRecord(small_[which_].done, stream));
      which_ = 1 - which_;
      small_used_ = 0;
      Ready(small_[which_]);
    }
    if (small_[which_].data == nullptr) Ready(small_[which_]);
    void* out = static_cast<char*>(small_[which_].data) + small_used_;
    small_used_ += rounded;
    return out;
  }

 private:
  static void Ready(Part& part) {
    if (part.data == nullptr) {
      EYAS_CUDA(cudaMallocHost(&part.data, kPart));
    } else {
      EYAS_CUDA(cudaEventSynchronize(part.done));
    }
  }

  std::array<Part, 4> parts_;
  size_t next_ = 0;
  // Two parts of many small copies each.
  std::array<Part, 2> small_;
  size_t which_ = 0;
  size_t small_used_ = 0;
};

namespace {

Runtime*& Instance() {
  static Runtime* runtime = nullptr;
  return runtime;
}

// Uploads from here on run on the copy stream.
constexpr size_t kLargeUpload = 1 << 20;

// An event for the length of a scope.
class Event {
 public:
  Event() { EYAS_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // What `later` is asked for from now on waits for what `earlier` was asked for so far.
  void Order(cudaStream_t earlier, cudaStream_t later) {
    EYAS_CUDA(cudaEventRecord(event_, earlier));
    EYAS_CUDA(cudaStreamWaitEvent(later, event_, 0));
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

Runtime& Runtime::Get() { return *Instance(); }

void Runtime::Open(int device) {
  if (Instance() == nullptr) Instance() = new Runtime(device);
  if (Instance()->device_ != device) {
    throw std::runtime_error("[cuda] expected the GPU in use, received another");
  }
}

Runtime::Runtime(int device) : device_(device) {
  EYAS_CUDA(cudaSetDevice(device));
  cudaDeviceProp properties;
  EYAS_CUDA(cudaGetDeviceProperties(&properties, device));
  if (properties.major < 8) {
    throw std::runtime_error("[cuda] expected compute capability 8.0 or later, received " +
                             std::to_string(properties.major) + "." + std::to_string(properties.minor));
  }
  multiprocessors_ = properties.multiProcessorCount;
  shared_of_block_ = properties.sharedMemPerBlockOptin;
  shared_of_multiprocessor_ = properties.sharedMemPerMultiprocessor;
  EYAS_CUDA(cudaStreamCreateWithFlags(&compute_, cudaStreamNonBlocking));
  EYAS_CUDA(cudaStreamCreateWithFlags(&copy_, cudaStreamNonBlocking));
  allocator_ = std::make_unique<DeviceAllocator>();
  staging_ = std::make_unique<Staging>();
}

void Runtime::UseDevice() const {
  thread_local bool used = false;
  if (used) return;
  EYAS_CUDA(cudaSetDevice(device_));
  used = true;
}

void* Runtime::Allocate(size_t bytes) {
  UseDevice();
  const std::lock_guard<std::mutex> lock(mutex_);
  return allocator_->Allocate(bytes);
}

void Runtime::Release(void* block, size_t bytes) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  allocator_->Release(block, bytes);
}

MemoryStats Runtime::Memory() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return allocator_->Stats();
}

void Runtime::ResetPeak() {
  const std::lock_guard<std::mutex> lock(mutex_);
  allocator_->ResetPeak();
}

void Runtime::Upload(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  UseDevice();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bytes < kLargeUpload) {
    void* staged = staging_->Small(bytes, compute_);
    std::memcpy(staged, from, bytes);
    EYAS_CUDA(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, compute_));
    return;
  }
  Event event;
  // The memory may still be read by work that used it before.
  event.Order(compute_, copy_);
  for (size_t at = 0; at < bytes; at += Staging::kPart) {
    const size_t count = std::min(Staging::kPart, bytes - at);
    Staging::Part& part = staging_->Next();
    std::memcpy(part.data, static_cast<const char*>(from) + at, count);
    EYAS_CUDA(cudaMemcpyAsync(static_cast<char*>(to) + at, part.data, count, cudaMemcpyHostToDevice, copy_));
    EYAS_CUDA(cudaEventRecord(part.done, copy_));
  }
  event.Order(copy_, compute_);
}

void Runtime::Download(void* to, const void* from, size_t bytes) {
  UseDevice();
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t at = 0; at < bytes; at += Staging::kPart) {
    const size_t count = std::min(Staging::kPart, bytes - at);
    Staging::Part& part = staging_->Next();
    EYAS_CUDA(cudaMemcpyAsync(part.data, static_cast<const char*>(from) + at, count, cudaMemcpyDeviceToHost,
                              compute_));
    EYAS_CUDA(cudaEventRecord(part.done, compute_));
    EYAS_CUDA(cudaEventSynchronize(part.done));
    std::memcpy(static_cast<char*>(to) + at, part.data, count);
  }
  if (bytes == 0) EYAS_CUDA(cudaStreamSynchronize(compute_));
}

}  // namespace eyas::cuda
