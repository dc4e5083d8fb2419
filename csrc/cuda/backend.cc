#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "core/cuda_library.h"
#include "cuda/cublaslt.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

// What the library exports (core/cuda_library.h).

namespace eyas::cuda {

namespace {

class CudaBackend final : public Backend {
 public:
  void* Allocate(size_t bytes) override { return Runtime::Get().Allocate(bytes); }
  void Release(void* block, size_t bytes) noexcept override { Runtime::Get().Release(block, bytes); }
  void Upload(void* to, const void* from, size_t bytes) override { Runtime::Get().Upload(to, from, bytes); }
  void Download(void* to, const void* from, size_t bytes) override {
    Runtime::Get().Download(to, from, bytes);
  }
  MemoryStats Memory() override { return Runtime::Get().Memory(); }
  void ResetPeak() override { Runtime::Get().ResetPeak(); }

  void Copy(const Tensor& source, const Tensor& destination) override { cuda::Copy(source, destination); }
  void Fill(const Tensor& tensor, double value) override { cuda::Fill(tensor, value); }
  void RandomNormal(float* out, int64_t n, double std, uint64_t seed) override {
    cuda::RandomNormal(out, n, std, seed);
  }

  void Gemm(const GemmProblem& problem) override { cuda::Gemm(problem); }
  bool MultipliesBFloat16() override { return true; }

  void GatherRows(const void* table, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                  void* out) override {
    cuda::GatherRows(table, row_bytes, stride_bytes, ids, out);
  }
  void ScatterRows(void* destination, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                   const void* source) override {
    cuda::ScatterRows(destination, row_bytes, stride_bytes, ids, source);
  }
  void ScatterAddRows(float* destination, int64_t width, int64_t stride, const RowIds& ids,
                      const float* source) override {
    cuda::ScatterAddRows(destination, width, stride, ids, source);
  }

  void Add(const float* a, const float* b, float* out, int64_t n) override { cuda::Add(a, b, out, n); }
  void AddScaled(float* a, const float* b, float alpha, int64_t n) override {
    cuda::AddScaled(a, b, alpha, n);
  }
  void Scale(float* a, float factor, int64_t n) override { cuda::Scale(a, factor, n); }
  void Multiply(const float* a, const float* b, float* out, int64_t n) override {
    cuda::Multiply(a, b, out, n);
  }
  void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width) override {
    cuda::MultiplyRows(a, b, out, rows, width);
  }
  void Activate(const float* x, Activation kind, float* out, int64_t n) override {
    cuda::Activate(x, kind, out, n);
  }
  void GatedActivation(const GatedRows& in, Activation kind, float* out) override {
    cuda::GatedActivation(in, kind, out);
  }
  void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate,
                               float* dup, int64_t out_stride) override {
    cuda::GatedActivationBackward(in, dy, kind, dgate, dup, out_stride);
  }

  void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out) override {
    cuda::RmsNorm(rows, x, weight, eps, out);
  }
  void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight) override {
    cuda::RmsNormBackward(rows, dy, x, weight, eps, dx, dweight);
  }
  void FoldedNormBackward(Rows rows, const float* g, const Tensor& weight, const float* norm, float* dweight,
                          int64_t dweight_stride, float* dnorm) override {
    cuda::FoldedNormBackward(rows, g, weight, norm, dweight, dweight_stride, dnorm);
  }
  void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps,
                 float* out) override {
    cuda::LayerNorm(rows, x, weight, bias, eps, out);
  }
  void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps,
                         float* dx, float* dweight, float* dbias) override {
    cuda::LayerNormBackward(rows, dy, x, weight, eps, dx, dweight, dbias);
  }
  void Softmax(Rows rows, const float* x, float* out) override { cuda::Softmax(rows, x, out); }
  void SoftmaxBackward(Rows rows, const float* dy, const float* y, float* dx) override {
    cuda::SoftmaxBackward(rows, dy, y, dx);
  }

  void RopeTables(const RopeTableProblem& problem, float* cos, float* sin) override {
    cuda::RopeTables(problem, cos, sin);
  }
  void Rope(const RopeProblem& problem, float* out) override { cuda::Rope(problem, out); }

  void Attention(const AttentionInput& input, const AttentionOutput& output) override {
    cuda::Attention(input, output);
  }
  void AttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                         const AttentionGradientArrays& gradients) override {
    cuda::AttentionBackward(input, backward, gradients);
  }

  void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first,
                    const ArgmaxState& state) override {
    cuda::UpdateArgmax(x, rows, columns, first, state);
  }
  void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first,
                   float* out, int64_t stride) override {
    cuda::TakeColumns(x, rows, columns, count, first, out, stride);
  }
  void SoftCrossEntropy(const CrossEntropyRows& rows) override { cuda::SoftCrossEntropy(rows); }

  double EuclideanNorm(const std::vector<FloatArray>& arrays) override { return cuda::EuclideanNorm(arrays); }
  void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step) override {
    cuda::AdamW(tensors, step);
  }

  void TopK(Rows rows, const float* x, int64_t k, bool normalize, int32_t* indices, float* values) override {
    cuda::TopK(rows, x, k, normalize, indices, values);
  }
  void ExpertMlp(const ExpertMlpProblem& problem) override { cuda::ExpertMlp(problem); }
};

void Say(const std::string& what, char* error, size_t bytes) {
  std::snprintf(error, bytes, "%s", what.c_str());
}

}  // namespace

}  // namespace eyas::cuda

extern "C" {

__attribute__((visibility("default"))) int eyas_cuda_abi() { return eyas::kCudaAbi; }

__attribute__((visibility("default"))) int eyas_cuda_devices(eyas::CudaDeviceRecord* records, int most,
                                                             char* error, size_t error_bytes) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    // Without any driver, too, it is said to be too old.
    eyas::cuda::Say(std::string(cudaGetErrorString(status)) + "; a driver for CUDA 13 is needed", error,
                    error_bytes);
    return 0;
  }
  if (count == 0) eyas::cuda::Say("no device", error, error_bytes);
  count = std::min(count, most);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) return i;
    std::snprintf(records[i].name, sizeof(records[i].name), "%s", properties.name);
    records[i].major = properties.major;
    records[i].minor = properties.minor;
    records[i].bytes = static_cast<int64_t>(properties.totalGlobalMem);
  }
  return count;
}

__attribute__((visibility("default"))) eyas::Backend* eyas_cuda_open(int index, char* error,
                                                                     size_t error_bytes) {
  try {
    // Without products there is nothing to be done on a GPU.
    eyas::cuda::CublasLt();
    eyas::cuda::Runtime::Open(index);
    eyas::cuda::OpenProducts();
    return new eyas::cuda::CudaBackend();
  } catch (const std::exception& failure) {
    eyas::cuda::Say(failure.what(), error, error_bytes);
    return nullptr;
  }
}

}  // extern "C"
