#include <algorithm>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// The ids as a kernel reads them.
struct DeviceIds {
  const void* data;
  int64_t stride;
  bool wide;  // int64, else int32

  __device__ __forceinline__ int64_t operator[](int64_t i) const {
    return wide ? static_cast<const int64_t*>(data)[i * stride]
                : static_cast<const int32_t*>(data)[i * stride];
  }
};

DeviceIds IdsOf(const RowIds& ids) {
  return {ids.tensor.raw(), ids.tensor.stride(0), ids.tensor.dtype() == DType::kInt64};
}

// Word by word, in the widest words that rows are made of.
template <typename Word>
__global__ void GatherKernel(const char* table, int64_t words, size_t stride_bytes, DeviceIds ids, int64_t n,
                             Word* out) {
  const int64_t total = n * words, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const int64_t row = i / words, word = i % words;
    out[i] = reinterpret_cast<const Word*>(table + ids[row] * stride_bytes)[word];
  }
}

template <typename Word>
__global__ void ScatterKernel(char* destination, int64_t words, size_t stride_bytes, DeviceIds ids, int64_t n,
                              const Word* source) {
  const int64_t total = n * words, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const int64_t row = i / words, word = i % words;
    reinterpret_cast<Word*>(destination + ids[row] * stride_bytes)[word] = source[i];
  }
}

// Calls body with the widest word that divides all of these.
template <typename Body>
void WithWord(size_t row_bytes, size_t stride_bytes, const void* a, const void* b, const Body& body) {
  const size_t all =
      row_bytes | stride_bytes | reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b);
  if (all % 16 == 0) return body(uint4());
  if (all % 4 == 0) return body(uint32_t());
  if (all % 2 == 0) return body(uint16_t());
  return body(uint8_t());
}

bool Unique(const RowIds& ids) {
  bool ascending = true;
  for (int64_t i = 1; ascending && i < ids.n; ++i) ascending = ids.host[i] > ids.host[i - 1];
  if (ascending) return true;
  std::vector<int64_t> sorted(ids.host, ids.host + ids.n);
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
}

__global__ void ScatterAddKernel(float* destination, int64_t width, int64_t stride, DeviceIds ids, int64_t n,
                                 const float* source) {
  const int64_t total = n * width, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const int64_t row = i / width, column = i % width;
    destination[ids[row] * stride + column] += source[i];
  }
}

// The same where rows may be named more than once: a thread has a column, so that the order is that of ids.
__global__ void ScatterAddInOrderKernel(float* destination, int64_t width, int64_t stride, DeviceIds ids,
                                        int64_t n, const float* source) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; column < width;
       column += step) {
    for (int64_t i = 0; i < n; ++i) destination[ids[i] * stride + column] += source[i * width + column];
  }
}

}  // namespace

void GatherRows(const void* table, size_t row_bytes, size_t stride_bytes, const RowIds& ids, void* out) {
  if (row_bytes == 0) return;
  WithWord(row_bytes, stride_bytes, table, out, [&](auto word) {
    using Word = decltype(word);
    const int64_t words = static_cast<int64_t>(row_bytes / sizeof(Word));
    Launch(ForElements(ids.n * words), GatherKernel<Word>, static_cast<const char*>(table), words,
           stride_bytes, IdsOf(ids), ids.n, static_cast<Word*>(out));
  });
}

void ScatterRows(void* destination, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                 const void* source) {
  if (row_bytes == 0) return;
  if (!Unique(ids)) {
    // One after the other, for the later one stays; nothing on the way of a model names a row twice.
    for (int64_t i = 0; i < ids.n; ++i) {
      EYAS_CUDA(cudaMemcpyAsync(static_cast<char*>(destination) + ids.host[i] * stride_bytes,
                                static_cast<const char*>(source) + i * row_bytes, row_bytes,
                                cudaMemcpyDeviceToDevice, Runtime::Get().stream()));
    }
    return;
  }
  WithWord(row_bytes, stride_bytes, destination, source, [&](auto word) {
    using Word = decltype(word);
    const int64_t words = static_cast<int64_t>(row_bytes / sizeof(Word));
    Launch(ForElements(ids.n * words), ScatterKernel<Word>, static_cast<char*>(destination), words,
           stride_bytes, IdsOf(ids), ids.n, static_cast<const Word*>(source));
  });
}

void ScatterAddRows(float* destination, int64_t width, int64_t stride, const RowIds& ids,
                    const float* source) {
  if (Unique(ids)) {
    Launch(ForElements(ids.n * width), ScatterAddKernel, destination, width, stride, IdsOf(ids), ids.n,
           source);
  } else {
    Launch(ForElements(width), ScatterAddInOrderKernel, destination, width, stride, IdsOf(ids), ids.n,
           source);
  }
}

}  // namespace eyas::cuda
