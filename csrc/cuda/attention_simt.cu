#include <algorithm>

#include "cuda/attention.h"
#include "cuda/device/reduce.cuh"

// Attention in float32, without tensor cores: for products that are not rounded and heads of any size.

namespace eyas::cuda {

namespace {

// Rows and keys of a tile; four neighbouring threads share a row.
constexpr int kTile = 32;
constexpr int kThreadsOfRow = 4;
constexpr int kThreadsOfTile = kTile * kThreadsOfRow;
// Scores of a row that one thread has: keys sub, sub + 4, …
constexpr int kScores = kTile / kThreadsOfRow;

// Queries up to which a row's bits do not depend on how many there are, nor on the room of the cache: the
// keys are split at the same places, whatever comes behind a row's own.
constexpr int kDecodeQueries = 16;
constexpr int kDecodeBlocks = 8;

// What the kernels read, without the extras.
struct SimtInput {
  const float* q;
  int64_t q_stride;
  const float* k;
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const float* dout;
  int64_t dout_stride;
  KeyRanges ranges;
};

// Rows of features in shared memory lie an odd number of words apart: no two meet in a bank.
__device__ __forceinline__ int Pitch(int head_dim) { return head_dim | 1; }

// Row `row` of a key-value head's queries: head_dim features.
__device__ __forceinline__ const float* RowOf(const AttentionShape& shape, const float* x, int64_t stride,
                                              int kv_head, int row) {
  const int head = kv_head * shape.group + row % shape.group;
  return x + row / shape.group * stride + static_cast<int64_t>(head) * shape.head_dim;
}

// Tile of rows of all heads of kv_head; zeros past the last row.
__device__ __forceinline__ void LoadRowTile(const AttentionShape& shape, const float* x, int64_t stride,
                                            int kv_head, int first, float* to) {
  const int d = shape.head_dim, pitch = Pitch(d);
  for (int i = threadIdx.x; i < kTile * d; i += blockDim.x) {
    const int row = i / d, c = i % d;
    to[row * pitch + c] =
        first + row < shape.rows() ? RowOf(shape, x, stride, kv_head, first + row)[c] : 0.0f;
  }
}

// Tile of keys or values of kv_head; zeros outside of `keys`, where nobody looks and anything may lie.
__device__ __forceinline__ void LoadKeyTile(const AttentionShape& shape, const float* x, int64_t stride,
                                            int kv_head, int first, int2 keys, float* to) {
  const int d = shape.head_dim, pitch = Pitch(d);
  for (int i = threadIdx.x; i < kTile * d; i += blockDim.x) {
    const int key = i / d, c = i % d;
    const bool there = first + key >= keys.x && first + key < keys.y;
    to[key * pitch + c] = there ? x[(first + key) * stride + static_cast<int64_t>(kv_head) * d + c] : 0.0f;
  }
}

__device__ __forceinline__ float DotOf(const float* a, const float* b, int d) {
  float sum = 0;
  for (int c = 0; c < d; ++c) sum += a[c] * b[c];
  return sum;
}

// The keys that any row of a tile sees, by all threads.
__device__ __forceinline__ int2 KeysOfTile(const AttentionShape& shape, const KeyRanges& ranges, int first,
                                           int* shared) {
  if (threadIdx.x == 0) {
    shared[0] = 0x7fffffff;
    shared[1] = 0;
  }
  __syncthreads();
  const int row = first + static_cast<int>(threadIdx.x);
  if (threadIdx.x < kTile && row < shape.rows()) {
    const int begin = ranges.begin[row / shape.group], end = ranges.end[row / shape.group];
    if (begin < end) {
      atomicMin(shared, begin);
      atomicMax(shared + 1, end);
    }
  }
  __syncthreads();
  int2 out;
  out.x = shared[0];
  out.y = shared[1];
  __syncthreads();
  return out;
}

__device__ __forceinline__ float RowMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float RowSum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

__global__ void SimtForwardKernel(AttentionShape shape, SimtInput in, PartialAttention out) {
  const int d = shape.head_dim, pitch = Pitch(d);
  EYAS_DYNAMIC_SHARED(float, shared);
  float* q_tile = shared;
  float* k_tile = q_tile + kTile * pitch;
  float* v_tile = k_tile + kTile * pitch;
  float* sums = v_tile + kTile * pitch;
  float* probabilities = sums + kTile * pitch;  // [kTile, kTile + 1]
  __shared__ int bounds[2];
  const int first = (gridDim.x - 1 - blockIdx.x) * kTile, kv_head = blockIdx.y, split = blockIdx.z;
  const int own = threadIdx.x / kThreadsOfRow, sub = threadIdx.x % kThreadsOfRow, row = first + own;
  const bool there = row < shape.rows();
  const int begin = there ? in.ranges.begin[row / shape.group] : 0,
            end = there ? in.ranges.end[row / shape.group] : 0;
  const int2 keys = KeysOfTile(shape, in.ranges, first, bounds);
  KeyBlocks blocks{0, 0};
  if (keys.x < keys.y) blocks = BlocksOf(out, split, {keys.x / kTile, (keys.y + kTile - 1) / kTile});
  LoadRowTile(shape, in.q, in.q_stride, kv_head, first, q_tile);
  for (int c = sub; c < d; c += kThreadsOfRow) sums[own * pitch + c] = 0;
  float largest = -INFINITY, total = 0;
  for (int block = blocks.first; block < blocks.last; ++block) {
    const int key = block * kTile;
    __syncthreads();
    LoadKeyTile(shape, in.k, in.k_stride, kv_head, key, keys, k_tile);
    LoadKeyTile(shape, in.v, in.v_stride, kv_head, key, keys, v_tile);
    __syncthreads();
    float scores[kScores];
    float top = -INFINITY;
    for (int i = 0; i < kScores; ++i) {
      const int j = sub + i * kThreadsOfRow;
      const bool seen = key + j >= begin && key + j < end;
      scores[i] =
          seen ? shape.scale * kLog2E * DotOf(q_tile + own * pitch, k_tile + j * pitch, d) : -INFINITY;
      top = fmaxf(top, scores[i]);
    }
    const float now = fmaxf(largest, RowMax(top));
    const float reference = now == -INFINITY ? 0.0f : now;
    const float factor = exp2f(largest - reference);
    largest = now;
    float sum = 0;
    for (int i = 0; i < kScores; ++i) {
      const float p = exp2f(scores[i] - reference);
      probabilities[own * (kTile + 1) + sub + i * kThreadsOfRow] = p;
      sum += p;
    }
    total = total * factor + RowSum(sum);
    __syncwarp();
    for (int c = sub; c < d; c += kThreadsOfRow) {
      float value = sums[own * pitch + c] * factor;
      for (int j = 0; j < kTile; ++j) value += probabilities[own * (kTile + 1) + j] * v_tile[j * pitch + c];
      sums[own * pitch + c] = value;
    }
    __syncwarp();
  }
  if (!there) return;
  const int64_t at = (static_cast<int64_t>(split) * shape.kv_heads + kv_head) * shape.rows() + row;
  const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
  for (int c = sub; c < d; c += kThreadsOfRow) out.out[at * d + c] = sums[own * pitch + c] * inverse;
  if (sub == 0) out.lse[at] = largest + log2f(total);
}

// Probability and gradient of the score of a row and a key of the tiles in shared memory.
struct Weights {
  float p;
  float ds;
};

__device__ __forceinline__ Weights WeightsOf(const AttentionShape& shape, const float* q, const float* k,
                                             const float* dout, const float* v, const RowFacts& of_row) {
  const int d = shape.head_dim;
  const float p = exp2f(shape.scale * kLog2E * DotOf(q, k, d) - of_row.lse);
  return {p, p * (DotOf(dout, v, d) - of_row.delta) * shape.scale};
}

// dq of a tile of rows is added to.
__global__ void SimtQueriesBackwardKernel(AttentionShape shape, SimtInput in, const RowFacts* facts,
                                          float* dq) {
  const int d = shape.head_dim, pitch = Pitch(d);
  EYAS_DYNAMIC_SHARED(float, shared);
  float* q_tile = shared;
  float* dout_tile = q_tile + kTile * pitch;
  float* k_tile = dout_tile + kTile * pitch;
  float* v_tile = k_tile + kTile * pitch;
  float* gradients = v_tile + kTile * pitch;  // [kTile, kTile + 1]
  __shared__ int bounds[2];
  const int first = blockIdx.x * kTile, kv_head = blockIdx.y;
  const int own = threadIdx.x / kThreadsOfRow, sub = threadIdx.x % kThreadsOfRow, row = first + own;
  const bool there = row < shape.rows();
  const RowFacts of_row =
      there ? facts[static_cast<int64_t>(kv_head) * shape.rows() + row] : RowFacts{0, 0, 0, 0};
  const int2 keys = KeysOfTile(shape, in.ranges, first, bounds);
  LoadRowTile(shape, in.q, in.q_stride, kv_head, first, q_tile);
  LoadRowTile(shape, in.dout, in.dout_stride, kv_head, first, dout_tile);
  const int head = kv_head * shape.group + row % shape.group;
  float* to = dq + (static_cast<int64_t>(row / shape.group) * shape.heads + head) * d;
  for (int key = keys.x; key < keys.y; key += kTile) {
    __syncthreads();
    LoadKeyTile(shape, in.k, in.k_stride, kv_head, key, keys, k_tile);
    LoadKeyTile(shape, in.v, in.v_stride, kv_head, key, keys, v_tile);
    __syncthreads();
    for (int j = sub; j < kTile; j += kThreadsOfRow) {
      const bool seen = key + j >= of_row.begin && key + j < of_row.end;
      gradients[own * (kTile + 1) + j] = seen ? WeightsOf(shape, q_tile + own * pitch, k_tile + j * pitch,
                                                          dout_tile + own * pitch, v_tile + j * pitch, of_row)
                                                    .ds
                                              : 0.0f;
    }
    __syncwarp();
    for (int c = sub; there && c < d; c += kThreadsOfRow) {
      float value = to[c];
      for (int j = 0; j < kTile; ++j) value += gradients[own * (kTile + 1) + j] * k_tile[j * pitch + c];
      to[c] = value;
    }
    __syncwarp();
  }
}

// dk and dv of a tile of keys.
__global__ void SimtKeysBackwardKernel(AttentionShape shape, SimtInput in, const RowFacts* facts, float* dk,
                                       float* dv) {
  const int d = shape.head_dim, pitch = Pitch(d);
  EYAS_DYNAMIC_SHARED(float, shared);
  float* k_tile = shared;
  float* v_tile = k_tile + kTile * pitch;
  float* q_tile = v_tile + kTile * pitch;
  float* dout_tile = q_tile + kTile * pitch;
  float* p = dout_tile + kTile * pitch;  // [kTile keys, kTile + 1 rows]
  float* ds = p + kTile * (kTile + 1);   // the same
  __shared__ int bounds[2];
  const int first = blockIdx.x * kTile, kv_head = blockIdx.y;
  const int own = threadIdx.x / kThreadsOfRow, sub = threadIdx.x % kThreadsOfRow, key = first + own;
  int2 all;
  all.x = 0;
  all.y = shape.m;
  LoadKeyTile(shape, in.k, in.k_stride, kv_head, first, all, k_tile);
  LoadKeyTile(shape, in.v, in.v_stride, kv_head, first, all, v_tile);
  const int64_t at = (static_cast<int64_t>(key) * shape.kv_heads + kv_head) * d;
  for (int c = sub; key < shape.m && c < d; c += kThreadsOfRow) dk[at + c] = dv[at + c] = 0;
  for (int row = 0; row < shape.rows(); row += kTile) {
    const int2 keys = KeysOfTile(shape, in.ranges, row, bounds);
    if (keys.x >= first + kTile || keys.y <= first) continue;
    LoadRowTile(shape, in.q, in.q_stride, kv_head, row, q_tile);
    LoadRowTile(shape, in.dout, in.dout_stride, kv_head, row, dout_tile);
    __syncthreads();
    for (int i = sub; i < kTile; i += kThreadsOfRow) {
      Weights weights{0, 0};
      if (row + i < shape.rows()) {
        const RowFacts of_row = facts[static_cast<int64_t>(kv_head) * shape.rows() + row + i];
        if (key >= of_row.begin && key < of_row.end) {
          weights = WeightsOf(shape, q_tile + i * pitch, k_tile + own * pitch, dout_tile + i * pitch,
                              v_tile + own * pitch, of_row);
        }
      }
      p[own * (kTile + 1) + i] = weights.p;
      ds[own * (kTile + 1) + i] = weights.ds;
    }
    __syncwarp();
    for (int c = sub; key < shape.m && c < d; c += kThreadsOfRow) {
      float key_gradient = dk[at + c], value_gradient = dv[at + c];
      for (int i = 0; i < kTile; ++i) {
        key_gradient += ds[own * (kTile + 1) + i] * q_tile[i * pitch + c];
        value_gradient += p[own * (kTile + 1) + i] * dout_tile[i * pitch + c];
      }
      dk[at + c] = key_gradient;
      dv[at + c] = value_gradient;
    }
    __syncthreads();
  }
}

// Four tiles of features and `scores` of scores.
size_t SharedBytes(int head_dim, int scores) {
  return (4 * kTile * static_cast<size_t>(head_dim | 1) + scores * kTile * (kTile + 1)) * sizeof(float);
}
// What the kernels' bounds take besides: the tiles begin on 16 bytes.
constexpr size_t kBoundsBytes = 16;

SimtInput InputOf(const AttentionInput& in, const float* dout, int64_t dout_stride) {
  return {in.q, in.q_stride, in.k, in.k_stride, in.v, in.v_stride, dout, dout_stride, {in.begin, in.end}};
}

}  // namespace

PartialAttention SimtSplits(const AttentionShape& shape) {
  if (shape.n <= kDecodeQueries) {
    const auto splits = static_cast<int>(CeilDiv(shape.m, kTile * kDecodeBlocks));
    return {nullptr, nullptr, splits, kDecodeBlocks, false};
  }
  const int64_t blocks = CeilDiv(shape.rows(), kTile) * shape.kv_heads;
  const int64_t wanted = CeilDiv(2 * Runtime::Get().multiprocessors(), blocks);
  const int64_t most = std::clamp<int64_t>(shape.m / (4 * kTile), 1, 64);
  return {nullptr, nullptr, static_cast<int>(std::min(wanted, most)), 0, false};
}

void SimtForward(const AttentionInput& in, const PartialAttention& out) {
  const AttentionShape shape = ShapeOf(in);
  ExpectSharedMemory("attention", shape.head_dim, SharedBytes(shape.head_dim, 1) + kBoundsBytes);
  const dim3 grid(static_cast<unsigned>(CeilDiv(shape.rows(), kTile)), static_cast<unsigned>(shape.kv_heads),
                  static_cast<unsigned>(out.splits));
  Launch({grid, dim3(kThreadsOfTile), SharedBytes(shape.head_dim, 1)}, SimtForwardKernel, shape,
         InputOf(in, nullptr, 0), out);
}

void SimtBackward(const AttentionInput& in, const float* dout, int64_t dout_stride, const RowFacts* facts,
                  float* dq, float* dk, float* dv) {
  const AttentionShape shape = ShapeOf(in);
  ExpectSharedMemory("attentionBackward", shape.head_dim, SharedBytes(shape.head_dim, 2) + kBoundsBytes);
  const SimtInput input = InputOf(in, dout, dout_stride);
  const auto heads = static_cast<unsigned>(shape.kv_heads);
  Launch({dim3(static_cast<unsigned>(CeilDiv(shape.rows(), kTile)), heads), dim3(kThreadsOfTile),
          SharedBytes(shape.head_dim, 1)},
         SimtQueriesBackwardKernel, shape, input, facts, dq);
  Launch({dim3(static_cast<unsigned>(CeilDiv(shape.m, kTile)), heads), dim3(kThreadsOfTile),
          SharedBytes(shape.head_dim, 2)},
         SimtKeysBackwardKernel, shape, input, facts, dk, dv);
}

}  // namespace eyas::cuda
