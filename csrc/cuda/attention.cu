#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/attention.h"
#include "cuda/device/reduce.cuh"
#include "cuda/kernels.h"

namespace eyas::cuda {

namespace {

constexpr int kMostExtras = 16;

// Keys beside the ranges, as a kernel reads them: a vector cannot travel to it.
struct DeviceExtra {
  const float* k;
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const int32_t* rows;
  int m;
};
struct DeviceExtras {
  DeviceExtra of[kMostExtras];
  int count;
};

DeviceExtras ExtrasOf(const AttentionInput& in) {
  if (in.extras.size() > kMostExtras) {
    throw std::invalid_argument("[attention] expected at most " + std::to_string(kMostExtras) +
                                " extras on a GPU, received " + std::to_string(in.extras.size()));
  }
  DeviceExtras out{};
  for (const AttentionExtra& extra : in.extras) {
    out.of[out.count++] = {extra.k,        extra.k_stride, extra.v,
                           extra.v_stride, extra.rows,     static_cast<int>(extra.m)};
  }
  return out;
}

// ---- packing

// x [n, heads, head_dim] with rows `stride` apart → [heads / group, n · group, width] in bfloat16, times
// factor.
struct PackedPart {
  const float* x;
  int64_t stride;
  int n;
  int heads;
  int group;
  float factor;
};
constexpr int kMostParts = 4;
struct PackTask {
  PackedPart part;
  uint16_t* out;
  // Features can be read by fours.
  bool fours;
};
struct PackTasks {
  PackTask of[kMostParts];
};
constexpr unsigned kPackThreads = 128;

// A block for each row of each part.
__global__ void PackKernel(PackTasks tasks, int head_dim, int width) {
  const PackTask& task = tasks.of[blockIdx.y];
  const PackedPart& part = task.part;
  const int row = blockIdx.x, quads = width / 4;
  if (row >= part.n) return;
  const float* from_row = part.x + row * part.stride;
  for (int i = threadIdx.x; i < part.heads * quads; i += blockDim.x) {
    const int head = i / quads, c = i % quads * 4;
    const float* from = from_row + head * head_dim + c;
    float4 x{0, 0, 0, 0};
    if (task.fours) {
      if (c < head_dim) x = *reinterpret_cast<const float4*>(from);
    } else {
      if (c < head_dim) x.x = from[0];
      if (c + 1 < head_dim) x.y = from[1];
      if (c + 2 < head_dim) x.z = from[2];
      if (c + 3 < head_dim) x.w = from[3];
    }
    const int packed_row = (head / part.group * part.n + row) * part.group + head % part.group;
    *reinterpret_cast<uint2*>(task.out + static_cast<int64_t>(packed_row) * width + c) = make_uint2(
        PackBf16(x.x * part.factor, x.y * part.factor), PackBf16(x.z * part.factor, x.w * part.factor));
  }
}

int WidthFor(int head_dim) {
  for (const int width : kMmaWidths) {
    if (head_dim <= width) return width;
  }
  return 0;
}

// Several tensors, packed by one kernel.
class Packed {
 public:
  Packed(int head_dim, int width, std::initializer_list<PackedPart> parts)
      : memory_(Elements(parts, width) * sizeof(uint16_t)) {
    PackTasks tasks{};
    uint16_t* out = memory_.As<uint16_t>();
    int most = 0;
    for (const PackedPart& part : parts) {
      const bool fours = head_dim % 4 == 0 && part.stride % 4 == 0 &&
                         reinterpret_cast<uintptr_t>(part.x) % sizeof(float4) == 0;
      tasks.of[heads_.size()] = {part, out, fours};
      heads_.push_back({out, part.n * part.group, width});
      out += Elements({part}, width);
      most = std::max(most, part.n);
    }
    Launch({dim3(static_cast<unsigned>(most), static_cast<unsigned>(parts.size())), dim3(kPackThreads)},
           PackKernel, tasks, head_dim, width);
  }

  const PackedHeads& operator[](size_t part) const { return heads_[part]; }

 private:
  static size_t Elements(std::initializer_list<PackedPart> parts, int width) {
    size_t sum = 0;
    for (const PackedPart& part : parts) sum += static_cast<size_t>(part.n) * part.heads * width;
    return sum;
  }

  Scratch memory_;
  std::vector<PackedHeads> heads_;
};

// Queries, keys and values as they are packed.
PackedPart QueriesOf(const AttentionInput& in, const AttentionShape& shape) {
  return {in.q, in.q_stride, shape.n, shape.heads, shape.group, shape.scale * kLog2E};
}
PackedPart KeysOf(const AttentionInput& in, const AttentionShape& shape) {
  return {in.k, in.k_stride, shape.m, shape.kv_heads, 1, 1.0f};
}
PackedPart ValuesOf(const AttentionInput& in, const AttentionShape& shape) {
  return {in.v, in.v_stride, shape.m, shape.kv_heads, 1, 1.0f};
}

// ---- partial results and extra keys together

__device__ __forceinline__ float WarpDot(const float* a, const float* b, int n) {
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x) % kWarpLanes; i < n; i += kWarpLanes) sum += a[i] * b[i];
  return WarpReduce(sum, SumOf());
}

// A warp for each query and head.
__global__ void CombineKernel(AttentionShape shape, const float* q, int64_t q_stride, DeviceExtras extras,
                              PartialAttention parts, float* out, float* lse) {
  const int lane = threadIdx.x % kWarpLanes, d = shape.head_dim;
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(shape.n) * shape.heads) return;
  const int query = static_cast<int>(item / shape.heads), head = static_cast<int>(item % shape.heads);
  const int kv_head = head / shape.group, rows = shape.rows();
  const int64_t row = static_cast<int64_t>(kv_head) * rows + query * shape.group + head % shape.group;
  const int64_t split_rows = static_cast<int64_t>(shape.kv_heads) * rows;
  const float* query_features = q + query * q_stride + static_cast<int64_t>(head) * d;

  float scores[kMostExtras];
  float largest = -INFINITY;
  for (int e = 0; e < extras.count; ++e) {
    const DeviceExtra& extra = extras.of[e];
    const float* key = extra.k + extra.rows[query] * extra.k_stride + static_cast<int64_t>(kv_head) * d;
    scores[e] = shape.scale * kLog2E * WarpDot(query_features, key, d);
    largest = scores[e] > largest ? scores[e] : largest;
  }
  for (int s = 0; s < parts.splits; ++s) {
    const float part = parts.lse[s * split_rows + row];
    largest = part > largest ? part : largest;
  }
  const float reference = largest == -INFINITY ? 0.0f : largest;
  float total = 0;
  for (int e = 0; e < extras.count; ++e) total += exp2f(scores[e] - reference);
  for (int s = 0; s < parts.splits; ++s) total += exp2f(parts.lse[s * split_rows + row] - reference);
  const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
  for (int c = lane; c < d; c += kWarpLanes) {
    float sum = 0;
    for (int s = 0; s < parts.splits; ++s) {
      const float weight = exp2f(parts.lse[s * split_rows + row] - reference);
      if (weight > 0) sum += weight * parts.out[(s * split_rows + row) * d + c];
    }
    for (int e = 0; e < extras.count; ++e) {
      const DeviceExtra& extra = extras.of[e];
      const float* value = extra.v + extra.rows[query] * extra.v_stride + static_cast<int64_t>(kv_head) * d;
      sum += exp2f(scores[e] - reference) * value[c];
    }
    out[item * d + c] = sum * inverse;
  }
  if (lane == 0) lse[item] = kLn2 * (largest + log2f(total));
}

// ---- what the backward pass needs first

struct ExtraGradients {
  float* dk[kMostExtras];
  float* dv[kMostExtras];
};

// A warp for each query and head.
__global__ void RowFactsKernel(AttentionShape shape, KeyRanges ranges, const float* dout, int64_t dout_stride,
                               const float* out, const float* lse, RowFacts* facts) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(shape.n) * shape.heads) return;
  const int query = static_cast<int>(item / shape.heads), head = static_cast<int>(item % shape.heads);
  const int64_t row =
      static_cast<int64_t>(head / shape.group) * shape.rows() + query * shape.group + head % shape.group;
  const int64_t d = shape.head_dim;
  const float sum = WarpDot(dout + query * dout_stride + head * d, out + item * d, shape.head_dim);
  if (threadIdx.x % kWarpLanes == 0)
    facts[row] = {kLog2E * lse[item], sum, ranges.begin[query], ranges.end[query]};
}

// Of a query and an extra key; ds includes the scale.
struct ExtraWeights {
  float p;
  float ds;
};

// Weights of the extra keys, [extras, n, heads], and what the queries' gradient gets through them: dq is
// written. A warp for each query and head.
__global__ void ExtrasQueriesBackwardKernel(AttentionShape shape, const float* q, int64_t q_stride,
                                            DeviceExtras extras, const float* dout, int64_t dout_stride,
                                            const RowFacts* facts, ExtraWeights* weights, float* dq) {
  const int lane = threadIdx.x % kWarpLanes, d = shape.head_dim;
  const int64_t items = static_cast<int64_t>(shape.n) * shape.heads;
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= items) return;
  const int query = static_cast<int>(item / shape.heads), head = static_cast<int>(item % shape.heads);
  const int kv_head = head / shape.group;
  const RowFacts row =
      facts[static_cast<int64_t>(kv_head) * shape.rows() + query * shape.group + head % shape.group];
  const float* query_features = q + query * q_stride + static_cast<int64_t>(head) * d;
  const float* up = dout + query * dout_stride + static_cast<int64_t>(head) * d;
  float ds[kMostExtras];
  for (int e = 0; e < extras.count; ++e) {
    const DeviceExtra& extra = extras.of[e];
    const int64_t at = extra.rows[query], of_head = static_cast<int64_t>(kv_head) * d;
    const float* key = extra.k + at * extra.k_stride + of_head;
    const float* value = extra.v + at * extra.v_stride + of_head;
    const float p = exp2f(shape.scale * kLog2E * WarpDot(query_features, key, d) - row.lse);
    ds[e] = p * (WarpDot(up, value, d) - row.delta) * shape.scale;
    if (lane == 0) weights[e * items + item] = {p, ds[e]};
  }
  for (int c = lane; c < d; c += kWarpLanes) {
    float sum = 0;
    for (int e = 0; e < extras.count; ++e) {
      const DeviceExtra& extra = extras.of[e];
      sum += ds[e] * extra.k[extra.rows[query] * extra.k_stride + static_cast<int64_t>(kv_head) * d + c];
    }
    dq[item * d + c] = sum;
  }
}

// Features that a lane adds up at once.
constexpr int kLaneFeatures = 4;

// dk and dv of the extras: a warp for each row of an extra and key-value head looks for the queries that name
// the row, and adds them up in their order.
__global__ void ExtrasKeysBackwardKernel(AttentionShape shape, const float* q, int64_t q_stride,
                                         DeviceExtras extras, const float* dout, int64_t dout_stride,
                                         const ExtraWeights* weights, ExtraGradients gradients) {
  const int lane = threadIdx.x % kWarpLanes, d = shape.head_dim, e = blockIdx.y;
  const DeviceExtra& extra = extras.of[e];
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(extra.m) * shape.kv_heads) return;
  const int row = static_cast<int>(item / shape.kv_heads), kv_head = static_cast<int>(item % shape.kv_heads);
  weights += static_cast<int64_t>(e) * shape.n * shape.heads;
  for (int first = 0; first < d; first += kLaneFeatures * kWarpLanes) {
    float dk[kLaneFeatures] = {}, dv[kLaneFeatures] = {};
    for (int queries = 0; queries < shape.n; queries += kWarpLanes) {
      const int own = queries + lane;
      unsigned named = __ballot_sync(kAllLanes, own < shape.n && extra.rows[own] == row);
      for (; named != 0; named &= named - 1) {
        const int64_t query = queries + __ffs(static_cast<int>(named)) - 1;
        for (int h = 0; h < shape.group; ++h) {
          const int64_t head = static_cast<int64_t>(kv_head) * shape.group + h;
          const ExtraWeights weight = weights[query * shape.heads + head];
          const float* query_features = q + query * q_stride + head * d;
          const float* up = dout + query * dout_stride + head * d;
#pragma unroll
          for (int i = 0; i < kLaneFeatures; ++i) {
            const int c = first + i * kWarpLanes + lane;
            if (c >= d) continue;
            dk[i] += weight.ds * query_features[c];
            dv[i] += weight.p * up[c];
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kLaneFeatures; ++i) {
      const int c = first + i * kWarpLanes + lane;
      if (c >= d) continue;
      gradients.dk[e][item * d + c] = dk[i];
      gradients.dv[e][item * d + c] = dv[i];
    }
  }
}

LaunchShape ForWarps(int64_t warps) {
  constexpr int64_t kWarps = kThreads / kWarpLanes;
  return {dim3(static_cast<unsigned>(CeilDiv(warps, kWarps))), dim3(kThreads)};
}

void Clear(float* data, size_t count) {
  EYAS_CUDA(cudaMemsetAsync(data, 0, count * sizeof(float), Runtime::Get().stream()));
}

}  // namespace

void ExpectSharedMemory(const char* op, int head_dim, size_t bytes) {
  const size_t there = Runtime::Get().shared_of_block();
  if (bytes <= there) return;
  throw std::runtime_error("[" + std::string(op) + "] expected " + std::to_string(bytes) +
                           " bytes of shared memory for heads of " + std::to_string(head_dim) +
                           " features, received a GPU with " + std::to_string(there));
}

int SharesFor(int64_t blocks, int64_t slots, int64_t steps, int64_t most) {
  // Where there are many, the last ones that run hardly count.
  if (blocks >= 3 * slots) return 1;
  // What a part costs by itself, in steps: it writes to memory what must be read again and added up.
  constexpr double kStepsOfPart = 4;
  int best = 1;
  double best_time = 0;
  for (int shares = 1; shares <= most; ++shares) {
    const double of_block = static_cast<double>(steps) / shares + (shares > 1 ? kStepsOfPart : 0);
    const double time = static_cast<double>(CeilDiv(blocks * shares, slots)) * of_block;
    if (shares > 1 && time >= best_time) continue;
    best = shares;
    best_time = time;
  }
  return best;
}

void Attention(const AttentionInput& in, const AttentionOutput& output) {
  if (in.n == 0) return;
  const AttentionShape shape = ShapeOf(in);
  const DeviceExtras extras = ExtrasOf(in);
  const int width = in.rounded ? WidthFor(shape.head_dim) : 0;
  PartialAttention parts{};
  if (in.m > 0) parts = width > 0 ? MmaSplits(shape, width) : SimtSplits(shape);
  parts.complete = width > 0 && parts.splits == 1 && extras.count == 0;
  const int64_t rows =
      parts.complete ? 0 : static_cast<int64_t>(parts.splits) * shape.kv_heads * shape.rows();
  const Scratch partial_out(rows * shape.head_dim * sizeof(float)), partial_lse(rows * sizeof(float));
  parts.out = parts.complete ? output.out : partial_out.As<float>();
  parts.lse = parts.complete ? output.lse : partial_lse.As<float>();
  if (in.m > 0 && width > 0) {
    const Packed packed(shape.head_dim, width,
                        {QueriesOf(in, shape), KeysOf(in, shape), ValuesOf(in, shape)});
    MmaForward(shape, {in.begin, in.end}, packed[0], packed[1], packed[2], parts);
  } else if (in.m > 0) {
    SimtForward(in, parts);
  }
  if (parts.complete) return;
  Launch(ForWarps(in.n * in.heads), CombineKernel, shape, in.q, in.q_stride, extras, parts, output.out,
         output.lse);
}

void AttentionBackward(const AttentionInput& in, const AttentionBackwardInput& back,
                       const AttentionGradientArrays& gradients) {
  const AttentionShape shape = ShapeOf(in);
  const DeviceExtras extras = ExtrasOf(in);
  const size_t row_features = static_cast<size_t>(in.kv_heads) * in.head_dim;
  if (in.n == 0) {
    Clear(gradients.dk, in.m * row_features);
    Clear(gradients.dv, in.m * row_features);
    for (size_t e = 0; e < in.extras.size(); ++e) {
      Clear(gradients.extras[e].dk, in.extras[e].m * row_features);
      Clear(gradients.extras[e].dv, in.extras[e].m * row_features);
    }
    return;
  }
  const Scratch facts(static_cast<size_t>(shape.kv_heads) * shape.rows() * sizeof(RowFacts));
  Launch(ForWarps(in.n * in.heads), RowFactsKernel, shape, KeyRanges{in.begin, in.end}, back.dout,
         back.dout_stride, back.out, back.lse, facts.As<RowFacts>());
  {
    const Scratch weights(static_cast<size_t>(extras.count) * in.n * in.heads * sizeof(ExtraWeights));
    Launch(ForWarps(in.n * in.heads), ExtrasQueriesBackwardKernel, shape, in.q, in.q_stride, extras,
           back.dout, back.dout_stride, facts.As<RowFacts>(), weights.As<ExtraWeights>(), gradients.dq);
    ExtraGradients extra_gradients{};
    int64_t most = 0;
    for (int e = 0; e < extras.count; ++e) {
      extra_gradients.dk[e] = gradients.extras[e].dk;
      extra_gradients.dv[e] = gradients.extras[e].dv;
      most = std::max(most, in.extras[e].m);
    }
    LaunchShape launch = ForWarps(most * in.kv_heads);
    launch.grid.y = static_cast<unsigned>(extras.count);
    Launch(launch, ExtrasKeysBackwardKernel, shape, in.q, in.q_stride, extras, back.dout, back.dout_stride,
           weights.As<ExtraWeights>(), extra_gradients);
  }
  if (in.m == 0) return;
  const int width = in.rounded ? WidthFor(shape.head_dim) : 0;
  if (width == 0) {
    SimtBackward(in, back.dout, back.dout_stride, facts.As<RowFacts>(), gradients.dq, gradients.dk,
                 gradients.dv);
    return;
  }
  const PackedPart dout{back.dout, back.dout_stride, shape.n, shape.heads, shape.group, 1.0f};
  const Packed packed(shape.head_dim, width,
                      {QueriesOf(in, shape), KeysOf(in, shape), ValuesOf(in, shape), dout});
  MmaBackward(shape, {in.begin, in.end}, packed[0], packed[1], packed[2], packed[3], facts.As<RowFacts>(),
              gradients.dq, gradients.dk, gradients.dv);
}

}  // namespace eyas::cuda
