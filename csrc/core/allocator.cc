#include "core/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

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

// Small blocks: size classes are the powers of two from one cache line to 64 KiB.
constexpr int kClasses = 11;
constexpr size_t kLargestSmall = kAlignment << (kClasses - 1);
// Bytes that one class may keep.
constexpr size_t kKeptPerClass = 4 << 20;
// From here on a block starts on a huge page, where the system has any.
constexpr size_t kHugePage = 2 << 20;

int SizeClass(size_t bytes) {
  int cls = 0;
  while ((kAlignment << cls) < bytes) ++cls;
  return cls;
}

// Sizes of large blocks: eight to a power of two.
size_t LargeSize(size_t bytes) {
  size_t step = kLargestSmall / 8;
  while (16 * step < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// Nothing where the system has no memory left.
void* FromSystem(size_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  const size_t unit = huge ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
#ifdef MADV_HUGEPAGE
  if (huge && block != nullptr) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

class SmallBlocks {
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

  static SmallBlocks& Get() {
    // Never destroyed: tensors may outlive static destructors at process exit.
    static auto* blocks = new SmallBlocks();
    return *blocks;
  }

 private:
  SmallBlocks() {
    for (int cls = 0; cls < kClasses; ++cls) {
      kept_[cls].reserve(std::min<size_t>(1024, kKeptPerClass / (kAlignment << cls)));
    }
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> kept_;
};

// Beyond what was once in use, a quarter of it, but not more than this, is kept: not all sizes are in use at
// once.
constexpr size_t kMostSlack = size_t{1} << 30;

// A fresh page costs as much to touch as a small product to compute, and a training step asks for the same
// sizes again and again. Blocks in use and blocks kept together exceed what was once in use by no more than
// the slack; the least recently used go first.
class LargeBlocks {
 public:
  void* Take(size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ += size;
    most_used_ = std::max(most_used_, used_);
    const auto found = by_size_.find(size);
    if (found != by_size_.end() && !found->second.empty()) {
      const Blocks::iterator entry = found->second.back();
      void* block = entry->block;
      found->second.pop_back();
      recent_.erase(entry);
      kept_ -= size;
      return block;
    }
    Shrink(most_used_ + std::min(most_used_ / 4, kMostSlack));
    void* block = FromSystem(size);
    if (block == nullptr) {
      Shrink(0);
      block = FromSystem(size);
    }
    if (block == nullptr) used_ -= size;
    return block;
  }

  void Keep(void* block, size_t size) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ -= size;
    try {
      std::vector<Blocks::iterator>& same = by_size_[size];
      same.reserve(same.size() + 1);
      recent_.push_front({block, size});
      same.push_back(recent_.begin());
      kept_ += size;
    } catch (const std::bad_alloc&) {
      std::free(block);
    }
  }

  void Trim() {
    const std::lock_guard<std::mutex> lock(mutex_);
    Shrink(0);
    most_used_ = used_;
  }

  static LargeBlocks& Get() {
    static auto* blocks = new LargeBlocks();
    return *blocks;
  }

 private:
  struct Block {
    void* block;
    size_t size;
  };
  using Blocks = std::list<Block>;

  // Gives the oldest blocks back until those in use and those kept fit into `limit`.
  void Shrink(size_t limit) {
    while (!recent_.empty() && used_ + kept_ > limit) {
      const Block oldest = recent_.back();
      std::vector<Blocks::iterator>& same = by_size_[oldest.size];
      same.erase(std::find(same.begin(), same.end(), std::prev(recent_.end())));
      recent_.pop_back();
      kept_ -= oldest.size;
      std::free(oldest.block);
    }
  }

  std::mutex mutex_;
  Blocks recent_;
  std::unordered_map<size_t, std::vector<Blocks::iterator>> by_size_;
  size_t used_ = 0;
  size_t kept_ = 0;
  size_t most_used_ = 0;
};

}  // namespace

void* Allocate(size_t bytes) {
  void* block = nullptr;
  if (bytes > kLargestSmall) {
    block = LargeBlocks::Get().Take(LargeSize(bytes));
  } else {
    const int cls = SizeClass(bytes);
    block = SmallBlocks::Get().Take(cls);
    if (block == nullptr) block = FromSystem(kAlignment << cls);
  }
  if (block == nullptr) {
    throw std::runtime_error("[allocate] expected " + std::to_string(bytes) +
                             " bytes of memory, received none");
  }
  Count(static_cast<int64_t>(bytes));
  return block;
}

void Release(void* block, size_t bytes) noexcept {
  Count(-static_cast<int64_t>(bytes));
  if (bytes > kLargestSmall) {
    LargeBlocks::Get().Keep(block, LargeSize(bytes));
  } else if (!SmallBlocks::Get().Keep(SizeClass(bytes), block)) {
    std::free(block);
  }
}

void TrimMemory() { LargeBlocks::Get().Trim(); }

MemoryStats GetMemoryStats() { return {live_bytes.load(), peak_bytes.load()}; }

void ResetPeakMemory() { peak_bytes.store(live_bytes.load()); }

}  // namespace eyas
