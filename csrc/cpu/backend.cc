#include "core/backend.h"

#include <cstring>

#include "core/cuda.h"
#include "core/runtime.h"
#include "cpu/attention.h"
#include "cpu/copy.h"
#include "cpu/elementwise.h"
#include "cpu/gemm.h"
#include "cpu/moe.h"
#include "cpu/norm.h"
#include "cpu/optimizer.h"
#include "cpu/random.h"
#include "cpu/rope.h"
#include "cpu/rows.h"
#include "cpu/softmax.h"
#include "cpu/vocabulary.h"

namespace eyas {

namespace {

class CpuBackend final : public Backend {
 public:
  void* Allocate(size_t bytes) override { return eyas::Allocate(bytes); }
  void Release(void* block, size_t bytes) noexcept override { eyas::Release(block, bytes); }
  void Upload(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void Download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  MemoryStats Memory() override { return GetMemoryStats(); }
  void ResetPeak() override { ResetPeakMemory(); }

  void Copy(const Tensor& source, const Tensor& destination) override { cpu::Copy(source, destination); }
  void Fill(const Tensor& tensor, double value) override { cpu::Fill(tensor, value); }
  void RandomNormal(float* out, int64_t n, double std, uint64_t seed) override {
    cpu::RandomNormal(out, n, std, seed);
  }

  void Gemm(const GemmProblem& problem) override {
    if (problem.out.dim(0) <= cpu::kMaxGemmRows) {
      cpu::GemmRows(problem);
    } else {
      cpu::GemmOneDnn(problem);
    }
  }
  bool MultipliesBFloat16() override { return HasBFloat16Gemm(); }

  void GatherRows(const void* table, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                  void* out) override {
    cpu::GatherBytes(static_cast<const char*>(table), row_bytes, stride_bytes, ids.host, ids.n,
                     static_cast<char*>(out));
  }
  void ScatterRows(void* destination, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                   const void* source) override {
    cpu::ScatterBytes(static_cast<char*>(destination), row_bytes, stride_bytes, ids.host, ids.n,
                      static_cast<const char*>(source));
  }
  void ScatterAddRows(float* destination, int64_t width, int64_t stride, const RowIds& ids,
                      const float* source) override {
    cpu::ScatterAdd(destination, width, stride, ids.host, ids.n, source);
  }

  void Add(const float* a, const float* b, float* out, int64_t n) override { cpu::Add(a, b, out, n); }
  void AddScaled(float* a, const float* b, float alpha, int64_t n) override {
    cpu::AddScaled(a, b, alpha, n);
  }
  void Scale(float* a, float factor, int64_t n) override { cpu::Scale(a, factor, n); }
  void Multiply(const float* a, const float* b, float* out, int64_t n) override {
    cpu::Multiply(a, b, out, n);
  }
  void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width) override {
    cpu::MultiplyRows(a, b, out, rows, width);
  }
  void Activate(const float* x, Activation kind, float* out, int64_t n) override {
    cpu::Activate(x, kind, out, n);
  }
  void GatedActivation(const GatedRows& in, Activation kind, float* out) override {
    cpu::GatedActivation(in, kind, out);
  }
  void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate,
                               float* dup, int64_t out_stride) override {
    cpu::GatedActivationBackward(in, dy, kind, dgate, dup, out_stride);
  }

  void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out) override {
    cpu::RmsNorm(rows, x, weight, eps, out);
  }
  void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps, float* dx,
                       float* dweight) override {
    cpu::RmsNormBackward(rows, dy, x, weight, eps, dx, dweight);
  }
  void FoldedNormBackward(Rows rows, const float* g, const Tensor& weight, const float* norm, float* dweight,
                          int64_t dweight_stride, float* dnorm) override {
    const auto run = [&](const auto* data) {
      cpu::FoldedNormBackward(rows, g, data, weight.stride(0), norm, dweight, dweight_stride, dnorm);
    };
    weight.dtype() == DType::kFloat32 ? run(weight.data<float>()) : run(weight.data<bfloat16>());
  }
  void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps,
                 float* out) override {
    cpu::LayerNorm(rows, x, weight, bias, eps, out);
  }
  void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps,
                         float* dx, float* dweight, float* dbias) override {
    cpu::LayerNormBackward(rows, dy, x, weight, eps, dx, dweight, dbias);
  }
  void Softmax(Rows rows, const float* x, float* out) override { cpu::Softmax(rows.n, rows.h, x, out); }
  void SoftmaxBackward(Rows rows, const float* dy, const float* y, float* dx) override {
    cpu::SoftmaxBackward(rows.n, rows.h, dy, y, dx);
  }

  void RopeTables(const RopeTableProblem& problem, float* cos, float* sin) override {
    cpu::MakeRopeTables(problem, cos, sin);
  }
  void Rope(const RopeProblem& problem, float* out) override { cpu::Rope(problem, out); }

  void Attention(const AttentionInput& input, const AttentionOutput& output) override {
    if (input.n <= cpu::kDecodeQueries) {
      cpu::DecodeAttention(input, output);
    } else {
      cpu::BlockAttention(input, output);
    }
  }
  void AttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                         const AttentionGradientArrays& gradients) override {
    cpu::BlockAttentionBackward(input, backward, gradients);
  }

  void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first,
                    const ArgmaxState& state) override {
    cpu::UpdateArgmax(x, rows, columns, first, state);
  }
  void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first,
                   float* out, int64_t stride) override {
    cpu::TakeColumns(x, rows, columns, count, first, out, stride);
  }
  void SoftCrossEntropy(const CrossEntropyRows& rows) override { cpu::SoftCrossEntropy(rows); }

  double EuclideanNorm(const std::vector<FloatArray>& arrays) override { return cpu::EuclideanNorm(arrays); }
  void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step) override {
    cpu::AdamW(tensors, step);
  }

  void TopK(Rows rows, const float* x, int64_t k, bool normalize, int32_t* indices, float* values) override {
    cpu::TopK(x, rows.n, rows.h, k, normalize, indices, values);
  }
  void ExpertMlp(const ExpertMlpProblem& problem) override { cpu::ExpertMlp(problem); }
};

}  // namespace

Backend& BackendOf(Device device) {
  // Never destroyed: tensors may outlive static destructors at process exit.
  static auto* cpu = new CpuBackend();
  return device == Device::kCpu ? *cpu : CudaBackend();
}

}  // namespace eyas
