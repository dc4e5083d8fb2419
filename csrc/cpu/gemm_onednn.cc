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
#include "cpu/gemm.h"

namespace eyas::cpu {

namespace {

using dnnl::memory;

// Everything that a primitive is made for, the number of threads included.
using Key = std::array<int64_t, 12>;

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

memory::desc Describe(const Tensor& tensor) {
  const auto type = tensor.dtype() == DType::kBFloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  const int unit = tensor.stride(1) == 1 ? 1 : 0;
  memory::dims strides = {tensor.stride(0), tensor.stride(1)};
  // The stride of a dimension of size one is never used, but oneDNN checks it.
  if (tensor.dim(1 - unit) == 1) strides[1 - unit] = tensor.dim(unit);
  return memory::desc({tensor.dim(0), tensor.dim(1)}, type, strides);
}

std::shared_ptr<const Gemm> Make(const GemmProblem& problem) {
  Gemm gemm;
  gemm.a = Describe(problem.a);
  gemm.b = Describe(problem.b);
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

}  // namespace

void GemmOneDnn(const GemmProblem& problem) {
  ApplyThreads();
  const HoldSignals hold;
  const Tensor& a = problem.a;
  const Tensor& b = problem.b;
  if (a.dtype() == DType::kFloat32 && b.size() <= kOneOffWeights && a.dim(0) * b.size() <= kOneOffWork) {
    GemmFloat(problem);
    return;
  }
  const Key key = {a.dim(0),
                   a.dim(1),
                   b.dim(1),
                   a.stride(0),
                   a.stride(1),
                   b.stride(0),
                   b.stride(1),
                   problem.out.stride(0),
                   static_cast<int64_t>(a.dtype()),
                   problem.bias != nullptr,
                   problem.accumulate,
                   Threads()};
  const std::shared_ptr<const Gemm> gemm = GemmCache::Get().Get(key, problem);
  const Tensor scratch({static_cast<int64_t>(gemm->scratch.get_size())}, DType::kBool);

  thread_local dnnl::stream stream(Engine());
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, memory(gemm->a, Engine(), a.raw())},
      {DNNL_ARG_WEIGHTS, memory(gemm->b, Engine(), b.raw())},
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
