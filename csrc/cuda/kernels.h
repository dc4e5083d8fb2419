#pragma once

#include "core/backend.h"

// The kernels' launchers, one file an operation family; arguments as in core/backend.h. All run on the
// compute stream and return at once, but for those that say otherwise.

namespace eyas::cuda {

// gemm.cc: cuBLASLt's products. OpenProducts throws where the library does not work.
void OpenProducts();
void Gemm(const GemmProblem& problem);
// gemm_plain.cu: any strides and alignment, for what the library has no algorithm for
void PlainProduct(const GemmProblem& problem);

// copy.cu
void Copy(const Tensor& source, const Tensor& destination);
void Fill(const Tensor& tensor, double value);
// out [n] = bfloat16 of x
void Round(const float* x, int64_t n, uint16_t* out);

// random.cu
void RandomNormal(float* out, int64_t n, double std, uint64_t seed);

// rows.cu
void GatherRows(const void* table, size_t row_bytes, size_t stride_bytes, const RowIds& ids, void* out);
void ScatterRows(void* destination, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                 const void* source);
void ScatterAddRows(float* destination, int64_t width, int64_t stride, const RowIds& ids,
                    const float* source);

// elementwise.cu
void Add(const float* a, const float* b, float* out, int64_t n);
void AddScaled(float* a, const float* b, float alpha, int64_t n);
void Scale(float* a, float factor, int64_t n);
void Multiply(const float* a, const float* b, float* out, int64_t n);
void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width);
void Activate(const float* x, Activation kind, float* out, int64_t n);
void GatedActivation(const GatedRows& in, Activation kind, float* out);
void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate, float* dup,
                             int64_t out_stride);

// norm.cu
void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out);
void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                     float* dweight);
void FoldedNormBackward(Rows rows, const float* g, const Tensor& weight, const float* norm, float* dweight,
                        int64_t dweight_stride, float* dnorm);
void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps, float* out);
void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight, float* dbias);

// softmax.cu
void Softmax(Rows rows, const float* x, float* out);
void SoftmaxBackward(Rows rows, const float* dy, const float* y, float* dx);

// rope.cu
void RopeTables(const RopeTableProblem& problem, float* cos, float* sin);
void Rope(const RopeProblem& problem, float* out);

// attention.cu
void Attention(const AttentionInput& input, const AttentionOutput& output);
void AttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                       const AttentionGradientArrays& gradients);

// vocabulary.cu
void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first, const ArgmaxState& state);
void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first, float* out,
                 int64_t stride);
void SoftCrossEntropy(const CrossEntropyRows& rows);

// optimizer.cu
// Waits for the result.
double EuclideanNorm(const std::vector<FloatArray>& arrays);
void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);

// moe.cu
void TopK(Rows rows, const float* x, int64_t k, bool normalize, int32_t* indices, float* values);
void ExpertMlp(const ExpertMlpProblem& problem);

}  // namespace eyas::cuda
