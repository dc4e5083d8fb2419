// What csrc/cuda uses of cuBLASLt, on the emulated device: plain sums in float32.

#include "cuda/cublaslt.h"

#include <algorithm>
#include <cstring>
#include <vector>

using namespace eyas::cuda;

struct eyas::cuda::LtHandleTag {};
struct eyas::cuda::LtMatmulDescTag {
  int32_t transpose_a = kLtPlain;
  int32_t transpose_b = kLtPlain;
  uint32_t epilogue = kLtNoEpilogue;
  const float* bias = nullptr;
};
struct eyas::cuda::LtMatrixLayoutTag {
  int32_t type;
  uint64_t rows;
  uint64_t columns;
  int64_t stride;
};
struct eyas::cuda::LtPreferenceTag {};

namespace {

constexpr int kInvalidValue = 7, kNotSupported = 15;

// op(matrix) [rows, columns] in rows, as float32.
std::vector<float> Values(const void* data, const LtMatrixLayoutTag& layout, bool transposed) {
  const uint64_t rows = transposed ? layout.columns : layout.rows,
                 columns = transposed ? layout.rows : layout.columns;
  std::vector<float> out(rows * columns);
  for (uint64_t row = 0; row < rows; ++row) {
    for (uint64_t column = 0; column < columns; ++column) {
      const uint64_t index = transposed ? column + row * layout.stride : row + column * layout.stride;
      float& value = out[row * columns + column];
      if (layout.type == kLtFloat32) {
        value = static_cast<const float*>(data)[index];
      } else {
        const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[index]) << 16;
        std::memcpy(&value, &bits, sizeof(value));
      }
    }
  }
  return out;
}

}  // namespace

extern "C" {

int cublasLtCreate(LtHandle* handle) {
  *handle = new LtHandleTag();
  return 0;
}

int cublasLtMatmulDescCreate(LtMatmulDesc* desc, int32_t compute, int32_t scale_type) {
  if (compute != kLtComputeFloat32 || scale_type != kLtFloat32) return kInvalidValue;
  *desc = new LtMatmulDescTag();
  return 0;
}

int cublasLtMatmulDescDestroy(LtMatmulDesc desc) {
  delete desc;
  return 0;
}

int cublasLtMatmulDescSetAttribute(LtMatmulDesc desc, int32_t attribute, const void* value, size_t bytes) {
  const auto set = [&](auto& field) {
    if (bytes != sizeof(field)) return kInvalidValue;
    std::memcpy(&field, value, bytes);
    return 0;
  };
  switch (attribute) {
    case kLtTransposeA:
      return set(desc->transpose_a);
    case kLtTransposeB:
      return set(desc->transpose_b);
    case kLtEpilogue:
      return set(desc->epilogue);
    case kLtBiasPointer:
      return set(desc->bias);
    default:
      return kInvalidValue;
  }
}

int cublasLtMatrixLayoutCreate(LtMatrixLayout* layout, int32_t type, uint64_t rows, uint64_t columns,
                               int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) return kInvalidValue;
  *layout = new LtMatrixLayoutTag{type, rows, columns, stride};
  return 0;
}

int cublasLtMatrixLayoutDestroy(LtMatrixLayout layout) {
  delete layout;
  return 0;
}

int cublasLtMatmulPreferenceCreate(LtPreference* preference) {
  *preference = new LtPreferenceTag();
  return 0;
}

int cublasLtMatmulPreferenceDestroy(LtPreference preference) {
  delete preference;
  return 0;
}

int cublasLtMatmulPreferenceSetAttribute(LtPreference, int32_t, const void*, size_t) { return 0; }

int cublasLtMatmulAlgoGetHeuristic(LtHandle, LtMatmulDesc desc, LtMatrixLayout a, LtMatrixLayout b,
                                   LtMatrixLayout c, LtMatrixLayout d, LtPreference, int,
                                   LtHeuristicResult* result, int* found) {
  const uint64_t m = desc->transpose_a ? a->columns : a->rows, k = desc->transpose_a ? a->rows : a->columns;
  const uint64_t n = desc->transpose_b ? b->rows : b->columns,
                 other_k = desc->transpose_b ? b->columns : b->rows;
  *found = 0;
  if (k != other_k || d->rows != m || d->columns != n || c->rows != m || c->columns != n ||
      a->type != b->type) {
    return kInvalidValue;
  }
  // Not all versions multiply bfloat16 with odd strides.
  if (a->type == kLtBFloat16 && (a->stride % 2 != 0 || b->stride % 2 != 0)) return kNotSupported;
  *result = {};
  *found = 1;
  return 0;
}

int cublasLtMatmul(LtHandle, LtMatmulDesc desc_argument, const void* alpha, const void* a,
                   LtMatrixLayout a_layout, const void* b, LtMatrixLayout b_layout, const void* beta,
                   const void* c, LtMatrixLayout c_layout, void* d, LtMatrixLayout d_layout,
                   const LtAlgorithm*, void*, size_t, cudaStream_t stream) {
  // Nor do all algorithms take what the heuristic said they do.
  const auto odd = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 4 != 0; };
  if (odd(a) || odd(b)) return kNotSupported;
  const LtMatmulDescTag desc = *desc_argument;
  const LtMatrixLayoutTag la = *a_layout, lb = *b_layout, lc = *c_layout, ld = *d_layout;
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  stream->Enqueue([=] {
    const std::vector<float> left = Values(a, la, desc.transpose_a), right = Values(b, lb, desc.transpose_b);
    const uint64_t k = left.size() / ld.rows;
    std::vector<float> sums(ld.columns);
    for (uint64_t row = 0; row < ld.rows; ++row) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (uint64_t i = 0; i < k; ++i) {
        const float factor = left[row * k + i];
        for (uint64_t column = 0; column < ld.columns; ++column)
          sums[column] += factor * right[i * ld.columns + column];
      }
      for (uint64_t column = 0; column < ld.columns; ++column) {
        float value = scale * sums[column];
        if (keep != 0) value += keep * static_cast<const float*>(c)[row + column * lc.stride];
        if (desc.epilogue == kLtBias) value += desc.bias[row];
        static_cast<float*>(d)[row + column * ld.stride] = value;
      }
    }
  });
  return 0;
}

}  // extern "C"
