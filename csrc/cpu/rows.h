#pragma once

#include <cstddef>
#include <cstdint>

namespace eyas::cpu {

// Rows of `width` elements of one size, `stride` elements apart. Ids are in range.

// out[i] = table[ids[i]], bytes as they are.
void GatherBytes(const char* table, size_t row_bytes, size_t stride_bytes, const int64_t* ids, int64_t n,
                 char* out);
// destination[ids[i]] = source[i], in the order of i.
void ScatterBytes(char* destination, size_t row_bytes, size_t stride_bytes, const int64_t* ids, int64_t n,
                  const char* source);
// destination[ids[i]] += source[i], in the order of i.
void ScatterAdd(float* destination, int64_t width, int64_t stride, const int64_t* ids, int64_t n,
                const float* source);

}  // namespace eyas::cpu
