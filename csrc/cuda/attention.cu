#include <stdexcept>
#include <string>

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
    out.of[out.count++] = {extra.k, extra.k_stride, extra.v, extra.v_stride, extra.rows};
  }
  return out;
}

// ---- packing

// x [n, heads, head_dim] with rows `stride` apart → [heads / group, n · group, width] in bfloat16, times
// factor.
__global__ void PackKernel(const float* x, int64_t stride, int n, int heads, int group, int head_dim,
                           float factor, uint16_t* out, int width) {
  const int64_t pairs = width / 2, total = static_cast<int64_t>(n) * heads * pairs;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const int pair = static_cast<int>(i % pairs), head = static_cast<int>(i / pairs % heads);
    const int row = static_cast<int>(i / pairs / heads), c = 2 * pair;
    const float* from = x + row * stride + static_cast<int64_t>(head) * head_dim;
    const float low = c < head_dim ? from[c] * factor : 0.0f,
                high = c + 1 < head_dim ? from[c + 1] * factor : 0.0f;
    const int64_t packed_row = (static_cast<int64_t>(head / group) * n + row) * group + head % group;
    reinterpret_cast<uint32_t*>(out)[packed_row * pairs + pair] = PackBf16(low, high);
  }
}

int WidthFor(int head_dim) {
  for (const int width : kMmaWidths) {
    if (head_dim <= width) return width;
  }
  return 0;
}

class Packed {
 public:
  Packed(const float* x, int64_t stride, int n, int heads, int group, int head_dim, float factor, int width)
      : memory_(static_cast<size_t>(n) * heads * width * sizeof(uint16_t)), rows_(n * group), width_(width) {
    Launch(ForElements(static_cast<int64_t>(n) * heads * width / 2), PackKernel, x, stride, n, heads, group,
           head_dim, factor, memory_.As<uint16_t>(), width);
  }

  PackedHeads heads() const { return {memory_.As<uint16_t>(), rows_, width_}; }

 private:
  Scratch memory_;
  int rows_;
  int width_;
};

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

// delta = Σ dout ∘ out and lse to base 2, both [kv_heads, rows]; a warp for each query and head.
__global__ void DeltaKernel(AttentionShape shape, const float* dout, int64_t dout_stride, const float* out,
                            const float* lse, float* delta, float* lse2) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(shape.n) * shape.heads) return;
  const int query = static_cast<int>(item / shape.heads), head = static_cast<int>(item % shape.heads);
  const int64_t row =
      static_cast<int64_t>(head / shape.group) * shape.rows() + query * shape.group + head % shape.group;
  const int64_t d = shape.head_dim;
  const float sum = WarpDot(dout + query * dout_stride + head * d, out + item * d, shape.head_dim);
  if (threadIdx.x % kWarpLanes == 0) {
    delta[row] = sum;
    lse2[row] = kLog2E * lse[item];
  }
}

struct ExtraGradients {
  float* dk[kMostExtras];
  float* dv[kMostExtras];
};

// Gradients through the extra keys: dq is written, dk and dv of the extras are added to. A warp for each
// query and key-value head goes through the heads of the group in turn.
__global__ void ExtrasBackwardKernel(AttentionShape shape, const float* q, int64_t q_stride,
                                     DeviceExtras extras, const float* dout, int64_t dout_stride,
                                     const float* delta, const float* lse2, float* dq,
                                     ExtraGradients gradients) {
  const int lane = threadIdx.x % kWarpLanes, d = shape.head_dim;
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(shape.n) * shape.kv_heads) return;
  const int query = static_cast<int>(item / shape.kv_heads),
            kv_head = static_cast<int>(item % shape.kv_heads);
  const int64_t first_row = static_cast<int64_t>(kv_head) * shape.rows() + query * shape.group;
  for (int h = 0; h < shape.group; ++h) {
    const int64_t head = static_cast<int64_t>(kv_head) * shape.group + h;
    for (int c = lane; c < d; c += kWarpLanes)
      dq[(static_cast<int64_t>(query) * shape.heads + head) * d + c] = 0;
  }
  for (int e = 0; e < extras.count; ++e) {
    const DeviceExtra& extra = extras.of[e];
    const int64_t at = extra.rows[query];
    const float* key = extra.k + at * extra.k_stride + static_cast<int64_t>(kv_head) * d;
    const float* value = extra.v + at * extra.v_stride + static_cast<int64_t>(kv_head) * d;
    float* dk = gradients.dk[e] + (at * shape.kv_heads + kv_head) * d;
    float* dv = gradients.dv[e] + (at * shape.kv_heads + kv_head) * d;
    for (int h = 0; h < shape.group; ++h) {
      const int64_t head = static_cast<int64_t>(kv_head) * shape.group + h;
      const float* query_features = q + query * q_stride + head * d;
      const float* up = dout + query * dout_stride + head * d;
      const float p = exp2f(shape.scale * kLog2E * WarpDot(query_features, key, d) - lse2[first_row + h]);
      const float ds = p * (WarpDot(up, value, d) - delta[first_row + h]) * shape.scale;
      float* to = dq + (static_cast<int64_t>(query) * shape.heads + head) * d;
      for (int c = lane; c < d; c += kWarpLanes) {
        to[c] += ds * key[c];
        // Several queries may name a row.
        atomicAdd(dk + c, ds * query_features[c]);
        atomicAdd(dv + c, p * up[c]);
      }
    }
  }
}

LaunchShape ForWarps(int64_t warps) {
  constexpr int64_t kWarps = kThreads / kWarpLanes;
  return {dim3(static_cast<unsigned>(CeilDiv(warps, kWarps))), dim3(kThreads)};
}

}  // namespace

void Attention(const AttentionInput& in, const AttentionOutput& output) {
  if (in.n == 0) return;
  const AttentionShape shape = ShapeOf(in);
  const int width = in.rounded ? WidthFor(shape.head_dim) : 0;
  PartialAttention parts{};
  if (in.m > 0) parts = width > 0 ? MmaSplits(shape, width) : SimtSplits(shape);
  const int64_t rows = static_cast<int64_t>(parts.splits) * shape.kv_heads * shape.rows();
  const Scratch partial_out(rows * shape.head_dim * sizeof(float)), partial_lse(rows * sizeof(float));
  parts.out = partial_out.As<float>();
  parts.lse = partial_lse.As<float>();
  if (in.m > 0 && width > 0) {
    const Packed q(in.q, in.q_stride, shape.n, shape.heads, shape.group, shape.head_dim, in.scale * kLog2E,
                   width);
    const Packed k(in.k, in.k_stride, shape.m, shape.kv_heads, 1, shape.head_dim, 1.0f, width);
    const Packed v(in.v, in.v_stride, shape.m, shape.kv_heads, 1, shape.head_dim, 1.0f, width);
    MmaForward(shape, {in.begin, in.end}, q.heads(), k.heads(), v.heads(), parts);
  } else if (in.m > 0) {
    SimtForward(in, parts);
  }
  Launch(ForWarps(in.n * in.heads), CombineKernel, shape, in.q, in.q_stride, ExtrasOf(in), parts, output.out,
         output.lse);
}

void AttentionBackward(const AttentionInput& in, const AttentionBackwardInput& back,
                       const AttentionGradientArrays& gradients) {
  const AttentionShape shape = ShapeOf(in);
  const size_t key_bytes = static_cast<size_t>(in.m) * in.kv_heads * in.head_dim * sizeof(float);
  ExtraGradients extra_gradients{};
  for (size_t e = 0; e < in.extras.size(); ++e) {
    extra_gradients.dk[e] = gradients.extras[e].dk;
    extra_gradients.dv[e] = gradients.extras[e].dv;
    const size_t bytes = static_cast<size_t>(in.extras[e].m) * in.kv_heads * in.head_dim * sizeof(float);
    EYAS_CUDA(cudaMemsetAsync(gradients.extras[e].dk, 0, bytes, Runtime::Get().stream()));
    EYAS_CUDA(cudaMemsetAsync(gradients.extras[e].dv, 0, bytes, Runtime::Get().stream()));
  }
  if (in.n == 0 || in.m == 0) {
    EYAS_CUDA(cudaMemsetAsync(gradients.dk, 0, key_bytes, Runtime::Get().stream()));
    EYAS_CUDA(cudaMemsetAsync(gradients.dv, 0, key_bytes, Runtime::Get().stream()));
  }
  if (in.n == 0) return;
  const int64_t rows = static_cast<int64_t>(shape.kv_heads) * shape.rows();
  const Scratch delta(rows * sizeof(float)), lse2(rows * sizeof(float));
  Launch(ForWarps(in.n * in.heads), DeltaKernel, shape, back.dout, back.dout_stride, back.out, back.lse,
         delta.As<float>(), lse2.As<float>());
  Launch(ForWarps(in.n * in.kv_heads), ExtrasBackwardKernel, shape, in.q, in.q_stride, ExtrasOf(in),
         back.dout, back.dout_stride, delta.As<float>(), lse2.As<float>(), gradients.dq, extra_gradients);
  if (in.m == 0) return;
  const int width = in.rounded ? WidthFor(shape.head_dim) : 0;
  if (width == 0) {
    SimtBackward(in, back.dout, back.dout_stride, lse2.As<float>(), delta.As<float>(), gradients.dq,
                 gradients.dk, gradients.dv);
    return;
  }
  const Packed q(in.q, in.q_stride, shape.n, shape.heads, shape.group, shape.head_dim, in.scale * kLog2E,
                 width);
  const Packed k(in.k, in.k_stride, shape.m, shape.kv_heads, 1, shape.head_dim, 1.0f, width);
  const Packed v(in.v, in.v_stride, shape.m, shape.kv_heads, 1, shape.head_dim, 1.0f, width);
  const Packed dout(back.dout, back.dout_stride, shape.n, shape.heads, shape.group, shape.head_dim, 1.0f,
                    width);
  MmaBackward(shape, {in.begin, in.end}, q.heads(), k.heads(), v.heads(), dout.heads(), lse2.As<float>(),
              delta.As<float>(), gradients.dq, gradients.dk, gradients.dv);
}

}  // namespace eyas::cuda
