#include "media/pixel_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "core/allocator.h"

namespace eyas {

namespace {

// Bytes that are kept at most: the patches and pixels of eight pictures of a million pixels.
constexpr size_t kKept = 256 << 20;
constexpr size_t kSmallest = 64 << 10;

// Eight sizes to a power of two, so that pictures of nearly the same size share blocks.
size_t BlockSize(size_t bytes) {
  size_t step = kSmallest / 8;
  while (16 * step < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// On huge pages from two of them on. Nothing where the system has no memory left.
void* FromSystem(size_t size) {
  constexpr size_t kHugePage = 2 << 20;
  const bool huge = size >= 2 * kHugePage;
  const size_t unit = huge ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
#ifdef MADV_HUGEPAGE
  if (huge && block != nullptr) madvise(block, size, MADV_HUGEPAGE);
#endif
  return block;
}

class KeptBlocks {
 public:
  // Nothing where no block of this size is kept.
  void* Take(size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found =
        std::find_if(kept_.rbegin(), kept_.rend(), [&](const Block& block) { return block.size == size; });
    if (found == kept_.rend()) return nullptr;
    void* block = found->block;
    kept_.erase(std::next(found).base());
    bytes_ -= size;
    return block;
  }

  void Keep(void* block, size_t size) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      kept_.push_back({block, size});
    } catch (const std::bad_alloc&) {
      std::free(block);
      return;
    }
    bytes_ += size;
    for (; bytes_ > kKept; kept_.pop_front()) {  // the least recently used first
      bytes_ -= kept_.front().size;
      std::free(kept_.front().block);
    }
  }

  static KeptBlocks& Get() {
    // Never destroyed: JavaScript may release buffers after static destructors ran.
    static auto* blocks = new KeptBlocks();
    return *blocks;
  }

 private:
  struct Block {
    void* block;
    size_t size;
  };

  std::mutex mutex_;
  std::deque<Block> kept_;
  size_t bytes_ = 0;
};

}  // namespace

PixelBuffer::PixelBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const size_t size = BlockSize(bytes);
  block_ = KeptBlocks::Get().Take(size);
  if (block_ == nullptr) block_ = FromSystem(size);
  if (block_ == nullptr) {
    throw std::runtime_error("[picture] expected " + std::to_string(bytes) +
                             " bytes of memory, received none");
  }
}

PixelBuffer::~PixelBuffer() {
  if (block_ != nullptr) KeptBlocks::Get().Keep(block_, BlockSize(bytes_));
}

PixelBuffer::PixelBuffer(PixelBuffer&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PixelBuffer& PixelBuffer::operator=(PixelBuffer&& other) noexcept {
  std::swap(block_, other.block_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace eyas
