#pragma once

#include <cstddef>
#include <cstdint>

namespace eyas {

// Every buffer starts on a cache line.
constexpr size_t kAlignment = 64;

struct MemoryStats {
  int64_t live_bytes;  // asked for and not yet released; blocks kept for reuse do not count
  int64_t peak_bytes;
};

// Memory for `bytes` bytes, aligned to kAlignment, not initialised. Released blocks are kept and used
// again: decoding makes many small tensors per token, a training step the same large ones every time. Throws
// std::runtime_error when memory is exhausted.
void* Allocate(size_t bytes);
// `bytes` must be what was asked of Allocate.
void Release(void* block, size_t bytes) noexcept;

// Gives large blocks that are kept for reuse back to the system.
void TrimMemory();

MemoryStats GetMemoryStats();
void ResetPeakMemory();

}  // namespace eyas
