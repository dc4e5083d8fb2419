#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/parallel.h"
#include "core/signals.h"
#include "cpu/copy.h"
#include "cpu/gemm.h"
#include "cpu/gemm_panels.h"

namespace eyas::cpu {

namespace {

using dnnl::memory;

// Everything that a primitive is made for, the number of threads included.
using Key = std::array<int64_t, 13>;

struct KeyHash {
  size_t operator()(const Key& key) const {
    size_t hash = 0;
    for (const int64_t value : key) {
      hash ^= std::hash<int64_t>()(value) + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
    }
    return hash;
  }
};

struct Gemm {
  memory::desc a;
  memory::desc b;
  memory::desc bias;
  memory::desc out;
  memory::desc scratch;
  dnnl::matmul primitive;
};

const dnnl::engine& Engine() {
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

memory::data_type TypeOf(DType dtype) {
  return dtype == DType::kBFloat16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc Describe(const Tensor& tensor) {
  const auto type = TypeOf(tensor.dtype());
  const int unit = tensor.stride(1) == 1 ? 1 : 0;
  memory::dims strides = {tensor.stride(0), tensor.stride(1)};
  // The stride of a dimension of size one is never used, but oneDNN checks it.
  if (tensor.dim(1 - unit) == 1) strides[1 - unit] = tensor.dim(unit);
  return memory::desc({tensor.dim(0), tensor.dim(1)}, type, strides);
}

// The panels of b [k,n].
memory::desc DescribePanels(int64_t k, int64_t n, DType dtype) {
  using tag = memory::format_tag;
  return memory::desc({k, n}, TypeOf(dtype), dtype == DType::kBFloat16 ? tag::BA16a64b2a : tag::BA16a64b);
}

std::shared_ptr<const Gemm> Make(const GemmProblem& problem) {
  Gemm gemm;
  gemm.a = Describe(problem.a);
  gemm.b = problem.panels.defined() ? DescribePanels(problem.a.dim(1), problem.out.dim(1), problem.a.dtype())
                                    : Describe(problem.b);
  gemm.out = Describe(problem.out);
  dnnl::primitive_attr attributes;
  // Scratch memory of our own: the library's is tied to the thread that made the primitive.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (problem.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto description = [&] {
    if (problem.bias == nullptr) return dnnl::matmul::desc(gemm.a, gemm.b, gemm.out);
    gemm.bias = memory::desc({1, problem.out.dim(1)}, memory::data_type::f32, memory::format_tag::ab);
    return dnnl::matmul::desc(gemm.a, gemm.b, gemm.bias, gemm.out);
  }();
  const dnnl::matmul::primitive_desc primitive(description, attributes, Engine());
  gemm.scratch = primitive.scratchpad_desc();
  gemm.primitive = dnnl::matmul(primitive);
  return std::make_shared<const Gemm>(std::move(gemm));
}

// The most recently used primitives, for all threads.
class GemmCache {
 public:
  std::shared_ptr<const Gemm> Get(const Key& key, const GemmProblem& problem) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = index_.find(key);
    if (found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->second;
    }
    entries_.emplace_front(key, Make(problem));
    index_[key] = entries_.begin();
    if (entries_.size() > kCapacity) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return entries_.front().second;
  }

  static GemmCache& Get() {
    // Never destroyed: the library may be unloaded first at process exit.
    static auto* cache = new GemmCache();
    return *cache;
  }

 private:
  static constexpr size_t kCapacity = 512;

  using Entries = std::list<std::pair<Key, std::shared_ptr<const Gemm>>>;
  std::mutex mutex_;
  Entries entries_;
  std::unordered_map<Key, Entries::iterator, KeyHash> index_;
};

// Multiply-adds up to which making a primitive for a shape that may not come again costs more than the
// general product takes: row counts differ from batch to batch.
constexpr int64_t kOneOffWork = int64_t{1} << 26;
// Values of b beyond which the general product is the slower one even so: it is not made for few rows.
constexpr int64_t kOneOffWeights = int64_t{1} << 18;

// float32 by the library's general product, which needs no primitive.
void GemmFloat(const GemmProblem& problem) {
  const int64_t m = problem.a.dim(0), n = problem.b.dim(1), k = problem.a.dim(1), ldc = problem.out.stride(0);
  float* out = problem.out.data<float>();
  if (problem.bias != nullptr) {
    for (int64_t i = 0; i < m; ++i) {
      float* row = out + i * ldc;
      for (int64_t j = 0; j < n; ++j) row[j] = problem.bias[j] + (problem.accumulate ? row[j] : 0.0f);
    }
  }
  const auto layout = [](const Tensor& t) { return t.stride(1) == 1 ? 'N' : 'T'; };
  // The stride of a dimension of size one is never used, but the library checks it.
  const auto leading = [](const Tensor& t) {
    const int unit = t.stride(1) == 1 ? 1 : 0;
    return std::max(t.stride(1 - unit), t.dim(unit));
  };
  const float beta = problem.accumulate || problem.bias != nullptr ? 1.0f : 0.0f;
  dnnl_sgemm(layout(problem.a), layout(problem.b), m, n, k, 1.0f, problem.a.data<float>(), leading(problem.a),
             problem.b.data<float>(), leading(problem.b), beta, out, ldc);
}

// Rows of a beyond which packing b for one product pays.
constexpr int64_t kPackRows = 512;
// Values of b, or of a transposed a, below which it does not.
constexpr int64_t kPackValues = int64_t{1} << 16;

// The problem with operands as the kernels read them, where putting them into that order is faster than what
// the library does.
GemmProblem Arranged(GemmProblem problem) {
  const Tensor& a = problem.a;
  const int64_t m = a.dim(0), k = a.dim(1), n = problem.out.dim(1);
  if (!GemmReadsPanels(a.dtype())) return problem;
  if (!problem.panels.defined() && m >= kPackRows && k * n >= kPackValues) {
    problem.panels = PackPanels(problem.b);
  }
  const bool transposed = a.stride(1) != 1 && k > 1;
  if (problem.panels.defined() && transposed && n >= kPackRows && m * k >= kPackValues) {
    problem.a = TransposeRows(MatrixRows::Of(a.Transpose(0, 1)));
  }
  return problem;
}

}  // namespace

bool GemmReadsPanels(DType dtype) {
  const auto reads = [](DType type) {
    constexpr int64_t kSize = kPanelColumns;
    const memory::desc plain({kSize, kSize}, TypeOf(type), memory::format_tag::ab);
    const memory::desc out({kSize, kSize}, memory::data_type::f32, memory::format_tag::ab);
    const dnnl::matmul::desc description(plain, DescribePanels(kSize, kSize, type), out);
    // Kernels that do not read them would be the reference ones.
    const dnnl::matmul::primitive_desc primitive(description, Engine(), true);
    return primitive && std::string(primitive.impl_info_str()).rfind("brg", 0) == 0;
  };
  static const bool floats = reads(DType::kFloat32), halves = reads(DType::kBFloat16);
  return dtype == DType::kBFloat16 ? halves : floats;
}

void GemmOneDnn(const GemmProblem& given) {
  ApplyThreads();
  const int64_t weights = given.a.dim(1) * given.out.dim(1);
  if (given.a.dtype() == DType::kFloat32 && given.b.defined() && weights <= kOneOffWeights &&
      given.a.dim(0) * weights <= kOneOffWork) {
    const HoldSignals hold;
    GemmFloat(given);
    return;
  }
  const GemmProblem problem = Arranged(given);
  if (problem.panels.defined() && !problem.out.contiguous()) {
    // The kernels write contiguous results only; the library's reference, which writes others, takes minutes.
    GemmProblem contiguous = problem;
    contiguous.out = Tensor(problem.out.shape(), DType::kFloat32);
    if (problem.accumulate) Copy(problem.out, contiguous.out);
    GemmOneDnn(contiguous);
    Copy(contiguous.out, problem.out);
    return;
  }
  const HoldSignals hold;
  const Tensor& a = problem.a;
  const Tensor& b = problem.b;
  const bool panels = problem.panels.defined();
  const Key key = {a.dim(0),
                   a.dim(1),
                   problem.out.dim(1),
                   a.stride(0),
                   a.stride(1),
                   panels ? 0 : b.stride(0),
                   panels ? 0 : b.stride(1),
                   problem.out.stride(0),
                   static_cast<int64_t>(a.dtype()),
                   problem.bias != nullptr,
                   problem.accumulate,
                   panels,
                   Threads()};
  const std::shared_ptr<const Gemm> gemm = GemmCache::Get().Get(key, problem);
  const Tensor scratch({static_cast<int64_t>(gemm->scratch.get_size())}, DType::kBool);

  thread_local dnnl::stream stream(Engine());
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, memory(gemm->a, Engine(), a.raw())},
      {DNNL_ARG_WEIGHTS, memory(gemm->b, Engine(), panels ? problem.panels.raw() : b.raw())},
      {DNNL_ARG_DST, memory(gemm->out, Engine(), problem.out.raw())},
      {DNNL_ARG_SCRATCHPAD, memory(gemm->scratch, Engine(), scratch.raw())},
  };
  if (problem.bias != nullptr) {
    arguments.emplace(DNNL_ARG_BIAS, memory(gemm->bias, Engine(), const_cast<float*>(problem.bias)));
  }
  gemm->primitive.execute(stream, arguments);
  stream.wait();
}

}  // namespace eyas::cpu
