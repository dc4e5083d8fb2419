#pragma once

#include <cstddef>
#include <cstdint>

namespace eyas {

// Memory of pixels and patches, not initialised. A released block is kept for the next picture, up to a bound
// for the whole process: first touching fresh pages costs more than what is done with them. From any thread.
class PixelBuffer {
 public:
  PixelBuffer() = default;
  // Throws std::runtime_error when memory is exhausted.
  explicit PixelBuffer(size_t bytes);
  ~PixelBuffer();
  PixelBuffer(PixelBuffer&& other) noexcept;
  PixelBuffer& operator=(PixelBuffer&& other) noexcept;
  PixelBuffer(const PixelBuffer&) = delete;
  PixelBuffer& operator=(const PixelBuffer&) = delete;

  uint8_t* data() const { return static_cast<uint8_t*>(block_); }
  size_t size() const { return bytes_; }

 private:
  void* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace eyas
