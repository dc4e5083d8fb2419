#include "core/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace eyas {

namespace {

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};

void Count(int64_t bytes) {
  const int64_t live = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

// Size classes are the powers of two from one cache line to 1 MiB; larger blocks go back to the system.
constexpr int kClasses = 15;
constexpr size_t kLargestCached = kAlignment << (kClasses - 1);
// Bytes that one class may keep.
constexpr size_t kKeptPerClass = 4 << 20;

int SizeClass(size_t bytes) {
  int cls = 0;
  while ((kAlignment << cls) < bytes) ++cls;
  return cls;
}

class Cache {
 public:
  void* Take(int cls) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<void*>& blocks = kept_[cls];
    if (blocks.empty()) return nullptr;
    void* block = blocks.back();
    blocks.pop_back();
    return block;
  }

  // False when the class is full: the caller frees the block. Room is reserved, so nothing can throw here.
  bool Keep(int cls, void* block) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<void*>& blocks = kept_[cls];
    if (blocks.size() == blocks.capacity()) return false;
    blocks.push_back(block);
    return true;
  }

  static Cache& Get() {
    // Never destroyed: tensors may outlive static destructors at process exit.
    static Cache* cache = new Cache();
    return *cache;
  }

 private:
  Cache() {
    for (int cls = 0; cls < kClasses; ++cls) {
      kept_[cls].reserve(std::min<size_t>(1024, kKeptPerClass / (kAlignment << cls)));
    }
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> kept_;
};

}  // namespace

void* Allocate(size_t bytes) {
  const bool cached = bytes <= kLargestCached;
  const int cls = cached ? SizeClass(bytes) : 0;
  void* block = cached ? Cache::Get().Take(cls) : nullptr;
  if (block == nullptr) {
    const size_t size = cached ? kAlignment << cls : (bytes + kAlignment - 1) / kAlignment * kAlignment;
    block = std::aligned_alloc(kAlignment, size);
    if (block == nullptr) {
      throw std::runtime_error("[allocate] expected " + std::to_string(bytes) +
                               " bytes of memory, received none");
    }
  }
  Count(static_cast<int64_t>(bytes));
  return block;
}

void Release(void* block, size_t bytes) noexcept {
  Count(-static_cast<int64_t>(bytes));
  if (bytes <= kLargestCached && Cache::Get().Keep(SizeClass(bytes), block)) return;
  std::free(block);
}

MemoryStats GetMemoryStats() { return {live_bytes.load(), peak_bytes.load()}; }

void ResetPeakMemory() { peak_bytes.store(live_bytes.load()); }

}  // namespace eyas
