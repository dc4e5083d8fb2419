#include "cpu/rows.h"

#include <cstring>

#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas::cpu {

namespace {

EYAS_SIMD_CLONES void AddColumns(float* destination, int64_t stride, const int64_t* ids, int64_t n,
                                 const float* source, int64_t width, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < n; ++i) {
    float* to = destination + ids[i] * stride;
    const float* from = source + i * width;
    for (int64_t j = begin; j < end; ++j) to[j] += from[j];
  }
}

}  // namespace

void GatherBytes(const char* table, size_t row_bytes, size_t stride_bytes, const int64_t* ids, int64_t n,
                 char* out) {
  ParallelFor(n, static_cast<int64_t>(row_bytes / 4), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(out + i * row_bytes, table + ids[i] * stride_bytes, row_bytes);
    }
  });
}

void ScatterBytes(char* destination, size_t row_bytes, size_t stride_bytes, const int64_t* ids, int64_t n,
                  const char* source) {
  // One thread: of two rows with the same id, the later one stays.
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(destination + ids[i] * stride_bytes, source + i * row_bytes, row_bytes);
  }
}

void ScatterAdd(float* destination, int64_t width, int64_t stride, const int64_t* ids, int64_t n,
                const float* source) {
  // Threads take columns, so that each element is summed in the order of i.
  ParallelFor(width, n, [&](int64_t begin, int64_t end) {
    AddColumns(destination, stride, ids, n, source, width, begin, end);
  });
}

}  // namespace eyas::cpu
