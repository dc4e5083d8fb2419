#include <algorithm>
#include <array>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/cublaslt.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace eyas::cuda {

namespace {

// What an algorithm may use beside its operands.
constexpr uint64_t kWorkspaceBytes = 32 << 20;
// Epilogues read a bias in vectors.
constexpr uint32_t kBiasAlignment = 16;

// What the library says where it has no algorithm.
constexpr int kInvalidValue = 7, kNotSupported = 15;

void CheckLt(int status, const char* call) {
  if (status != 0) {
    throw std::runtime_error(std::string("[cuda] ") + call + ": cuBLASLt status " + std::to_string(status) +
                             ", " + cudaGetErrorString(cudaGetLastError()));
  }
}
#define EYAS_LT(call) CheckLt((call), #call)

// A row-major operand as cuBLASLt, which thinks in columns, sees its memory.
struct Operand {
  bool transposed;  // the memory has the operand's rows as columns
  int64_t stride;

  // Of x [rows, columns], one of whose dimensions is contiguous.
  static Operand Of(const Tensor& x) {
    const bool transposed = x.stride(1) != 1 && x.dim(1) > 1;
    // The stride of a dimension of size one is never used, but the library checks it.
    if (transposed) return {true, x.dim(1) == 1 ? x.dim(0) : std::max(x.stride(1), x.dim(0))};
    return {false, x.dim(0) == 1 ? x.dim(1) : std::max(x.stride(0), x.dim(1))};
  }
};

// Everything that an algorithm is chosen for.
using Key = std::array<int64_t, 14>;

struct KeyHash {
  size_t operator()(const Key& key) const {
    size_t hash = 0;
    for (const int64_t value : key)
      hash ^= std::hash<int64_t>()(value) + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
    return hash;
  }
};

// The largest power of two up to 256 that divides an address.
uint32_t AlignmentOf(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return static_cast<uint32_t>(std::min<uintptr_t>(256, address & ~(address - 1)));
}

// A product's descriptions and its algorithm.
class Plan {
 public:
  // out = a · b in rows is outᵀ = bᵀ · aᵀ in columns: b is the left operand.
  Plan(LtHandle handle, const GemmProblem& problem, const Operand& a, const Operand& b) : lt_(CublasLt()) {
    const int64_t m = problem.a.dim(0), k = problem.a.dim(1), n = problem.out.dim(1);
    const LtType type = problem.a.dtype() == DType::kBFloat16 ? kLtBFloat16 : kLtFloat32;
    EYAS_LT(lt_.matmul_desc_create(&desc_, kLtComputeFloat32, kLtFloat32));
    const int32_t left = b.transposed ? kLtTransposed : kLtPlain,
                  right = a.transposed ? kLtTransposed : kLtPlain;
    EYAS_LT(lt_.matmul_desc_set(desc_, kLtTransposeA, &left, sizeof(left)));
    EYAS_LT(lt_.matmul_desc_set(desc_, kLtTransposeB, &right, sizeof(right)));
    if (problem.bias != nullptr) {
      const uint32_t epilogue = kLtBias;
      EYAS_LT(lt_.matmul_desc_set(desc_, kLtEpilogue, &epilogue, sizeof(epilogue)));
      SetBias(problem.bias);
    }
    EYAS_LT(b.transposed ? lt_.layout_create(&left_, type, k, n, b.stride)
                         : lt_.layout_create(&left_, type, n, k, b.stride));
    EYAS_LT(a.transposed ? lt_.layout_create(&right_, type, m, k, a.stride)
                         : lt_.layout_create(&right_, type, k, m, a.stride));
    EYAS_LT(lt_.layout_create(&out_, kLtFloat32, n, m, std::max(problem.out.stride(0), n)));
    LtPreference preference;
    EYAS_LT(lt_.preference_create(&preference));
    const auto set = [&](int32_t attribute, const auto& value) {
      EYAS_LT(lt_.preference_set(preference, attribute, &value, sizeof(value)));
    };
    set(kLtMaxWorkspaceBytes, kWorkspaceBytes);
    set(kLtMinAlignmentA, AlignmentOf(problem.b.raw()));
    set(kLtMinAlignmentB, AlignmentOf(problem.a.raw()));
    set(kLtMinAlignmentC, AlignmentOf(problem.out.raw()));
    // The epilogue reads the bias as it writes the result.
    const uint32_t out_alignment = AlignmentOf(problem.out.raw());
    set(kLtMinAlignmentD, problem.bias == nullptr ? out_alignment : std::min(out_alignment, kBiasAlignment));
    std::array<LtHeuristicResult, 4> results{};
    int found = 0;
    const int status = lt_.heuristic(handle, desc_, left_, right_, out_, out_, preference,
                                     static_cast<int>(results.size()), results.data(), &found);
    EYAS_LT(lt_.preference_destroy(preference));
    if (status != 0 && status != kNotSupported && status != kInvalidValue) EYAS_LT(status);
    for (int i = 0; status == 0 && i < found; ++i) {
      if (results[i].state == 0) algorithms_.push_back(results[i].algorithm);
    }
  }

  ~Plan() {
    if (left_ != nullptr) lt_.layout_destroy(left_);
    if (right_ != nullptr) lt_.layout_destroy(right_);
    if (out_ != nullptr) lt_.layout_destroy(out_);
    if (desc_ != nullptr) lt_.matmul_desc_destroy(desc_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Whether an algorithm took the product.
  bool Run(LtHandle handle, const GemmProblem& problem, void* workspace) {
    std::unique_ptr<Scratch> aligned;
    if (problem.bias != nullptr) {
      const float* bias = problem.bias;
      if (AlignmentOf(bias) < kBiasAlignment) {
        const size_t bytes = problem.out.dim(1) * sizeof(float);
        aligned = std::make_unique<Scratch>(bytes);
        EYAS_CUDA(cudaMemcpyAsync(aligned->As<void>(), bias, bytes, cudaMemcpyDeviceToDevice,
                                  Runtime::Get().stream()));
        bias = aligned->As<float>();
      }
      SetBias(bias);
    }
    const float alpha = 1, beta = problem.accumulate ? 1 : 0;
    void* out = problem.out.raw();
    for (; !algorithms_.empty(); algorithms_.erase(algorithms_.begin())) {
      const int status =
          lt_.matmul(handle, desc_, &alpha, problem.b.raw(), left_, problem.a.raw(), right_, &beta, out, out_,
                     out, out_, &algorithms_.front(), workspace, kWorkspaceBytes, Runtime::Get().stream());
      if (status == 0) return true;
      if (status != kNotSupported && status != kInvalidValue) CheckLt(status, "cublasLtMatmul");
    }
    return false;
  }

 private:
  void SetBias(const float* bias) {
    EYAS_LT(lt_.matmul_desc_set(desc_, kLtBiasPointer, &bias, sizeof(bias)));
  }

  const LtFunctions& lt_;
  LtMatmulDesc desc_ = nullptr;
  LtMatrixLayout left_ = nullptr;
  LtMatrixLayout right_ = nullptr;
  LtMatrixLayout out_ = nullptr;
  // Best first; those that refuse are taken out.
  std::vector<LtAlgorithm> algorithms_;
};

// The library's handle, its workspace and the most recently used plans.
class Products {
 public:
  static Products& Get() {
    static auto* products = new Products();
    return *products;
  }

  void Run(const GemmProblem& problem) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Operand a = Operand::Of(problem.a), b = Operand::Of(problem.b);
    const Key key = {problem.a.dim(0),
                     problem.a.dim(1),
                     problem.out.dim(1),
                     a.transposed,
                     a.stride,
                     b.transposed,
                     b.stride,
                     problem.out.stride(0),
                     static_cast<int64_t>(problem.a.dtype()),
                     problem.bias != nullptr,
                     problem.accumulate,
                     AlignmentOf(problem.a.raw()),
                     AlignmentOf(problem.b.raw()),
                     AlignmentOf(problem.out.raw())};
    const auto found = index_.find(key);
    if (found != index_.end()) {
      plans_.splice(plans_.begin(), plans_, found->second);
    } else {
      plans_.emplace_front(key, std::make_unique<Plan>(handle_, problem, a, b));
      index_[key] = plans_.begin();
      if (plans_.size() > kPlans) {
        index_.erase(plans_.back().first);
        plans_.pop_back();
      }
    }
    if (!plans_.front().second->Run(handle_, problem, workspace_.As<void>())) PlainProduct(problem);
  }

 private:
  Products() : workspace_(kWorkspaceBytes) { EYAS_LT(CublasLt().create(&handle_)); }

  static constexpr size_t kPlans = 1024;

  using Plans = std::list<std::pair<Key, std::unique_ptr<Plan>>>;
  std::mutex mutex_;
  LtHandle handle_ = nullptr;
  Scratch workspace_;
  Plans plans_;
  std::unordered_map<Key, Plans::iterator, KeyHash> index_;
};

}  // namespace

void OpenProducts() { Products::Get(); }

void Gemm(const GemmProblem& problem) { Products::Get().Run(problem); }

}  // namespace eyas::cuda
