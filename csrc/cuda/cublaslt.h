#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

// The few declarations of cuBLASLt that products need, as its documentation gives them
// (https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api). The library is the user's: it comes with
// CUDA and with PyTorch, and is opened when the first product asks for it.

namespace eyas::cuda {

enum LtOperation : int32_t { kLtPlain = 0, kLtTransposed = 1 };
enum LtType : int32_t { kLtFloat32 = 0, kLtBFloat16 = 14 };
// Sums in float32; factors in float32 are not rounded.
constexpr int32_t kLtComputeFloat32 = 68;

enum LtMatmulAttribute : int32_t {
  kLtTransposeA = 3,
  kLtTransposeB = 4,
  kLtEpilogue = 7,
  kLtBiasPointer = 8
};
enum LtEpilogue : uint32_t { kLtNoEpilogue = 1, kLtBias = 4 };
enum LtPreferenceAttribute : int32_t {
  kLtMaxWorkspaceBytes = 1,
  kLtMinAlignmentA = 5,
  kLtMinAlignmentB = 6,
  kLtMinAlignmentC = 7,
  kLtMinAlignmentD = 8
};

using LtHandle = struct LtHandleTag*;
using LtMatmulDesc = struct LtMatmulDescTag*;
using LtMatrixLayout = struct LtMatrixLayoutTag*;
using LtPreference = struct LtPreferenceTag*;

struct LtAlgorithm {
  uint64_t data[8];
};

struct LtHeuristicResult {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int32_t state;
  float waves;
  int32_t reserved[4];
};

// The functions; each returns 0 on success. Matrices are column-major.
struct LtFunctions {
  int (*create)(LtHandle*);
  int (*matmul_desc_create)(LtMatmulDesc*, int32_t compute, int32_t scale_type);
  int (*matmul_desc_destroy)(LtMatmulDesc);
  int (*matmul_desc_set)(LtMatmulDesc, int32_t attribute, const void* value, size_t bytes);
  int (*layout_create)(LtMatrixLayout*, int32_t type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*layout_destroy)(LtMatrixLayout);
  int (*preference_create)(LtPreference*);
  int (*preference_destroy)(LtPreference);
  int (*preference_set)(LtPreference, int32_t attribute, const void* value, size_t bytes);
  int (*heuristic)(LtHandle, LtMatmulDesc, LtMatrixLayout a, LtMatrixLayout b, LtMatrixLayout c,
                   LtMatrixLayout d, LtPreference, int requested, LtHeuristicResult*, int* found);
  int (*matmul)(LtHandle, LtMatmulDesc, const void* alpha, const void* a, LtMatrixLayout, const void* b,
                LtMatrixLayout, const void* beta, const void* c, LtMatrixLayout, void* d, LtMatrixLayout,
                const LtAlgorithm*, void* workspace, size_t workspace_bytes, cudaStream_t);
};

// Opens the library on the first call. Throws std::runtime_error naming the places that were searched.
const LtFunctions& CublasLt();

}  // namespace eyas::cuda
