#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/tensor.h"

// What a device computes. The operations of core/ have checked all arguments: sizes fit, memory is the
// device's own and inputs lie apart from outputs where nothing else is said. Arrays are row-major; a stride
// is in elements. A backend may return before the work is done; Download waits.

namespace eyas {

enum class Activation { kSilu, kGelu, kGeluTanh, kQuickGelu };

// N contiguous rows of H float32 features.
struct Rows {
  int64_t n;
  int64_t h;
};

// Rows named by ids. `host` and `tensor` are the same ids, in the host's memory and in the device's.
struct RowIds {
  const int64_t* host;  // [n]
  Tensor tensor;        // int32 or int64 [n], may be strided
  int64_t n;
};

// out [M,N] = a [M,K] · b [K,N] (+ bias [N]) (+ out). a and b are both float32 or both bfloat16, either may
// be a transposed view; out is float32 with contiguous rows. M, N and K are at least 1.
struct GemmProblem {
  Tensor a;
  Tensor b;
  const float* bias;  // or nullptr
  Tensor out;
  bool accumulate;
  Tensor panels = Tensor();  // of b (cpu/gemm_panels.h), read in its place on the CPU; may be absent
};

// cos and sin [N,F] of angle = (positions[axis_of[f], n] + offset) · inverse_frequencies[f], which is rounded
// to float32 as the models' own code does; the functions themselves are correct for any angle.
struct RopeTableProblem {
  const float* positions;  // [axes,N]
  const float* inverse_frequencies;
  const int64_t* axis_of;  // [F], in the host's memory
  int64_t n;
  int64_t frequencies;
  float offset;
  float scaling;
};

// Rotates features (j, j + F), j < F, of every head of x [N,heads,D] by the row's angles; features from 2F on
// are copied. Rows of x lie x_stride apart; out is contiguous.
struct RopeProblem {
  const float* x;
  int64_t x_stride;
  int64_t n;
  int64_t heads;
  int64_t head_size;
  int64_t frequencies;
  const float* cos;
  const float* sin;
  bool inverse;
};

// Rows of `width` features; gate and up have rows `gate_stride` and `up_stride` apart.
struct GatedRows {
  const float* gate;
  int64_t gate_stride;
  const float* up;
  int64_t up_stride;
  int64_t rows;
  int64_t width;
};

// Keys and values beside the range: query i also sees row rows[i].
struct AttentionExtra {
  const float* k;  // [m, kv_heads, head_dim]
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const int32_t* rows;  // [n]
  int64_t m;
};

struct AttentionInput {
  const float* q;  // [n, heads, head_dim]
  int64_t q_stride;
  const float* k;  // [m, kv_heads, head_dim]
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  const int32_t* begin;  // [n]; query i sees keys begin[i] ≤ j < end[i]
  const int32_t* end;
  int64_t n;
  int64_t m;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  float scale;
  // Products of blocks with both factors in bfloat16, where the processor multiplies that; sums and softmax
  // stay float32.
  bool rounded = false;
  std::vector<AttentionExtra> extras;

  int64_t group() const { return heads / kv_heads; }
};

// Contiguous results: out [n, heads, head_dim] and the natural logarithm of the softmax denominators,
// lse [n, heads]; 0 and −∞ for a query without keys.
struct AttentionOutput {
  float* out;
  float* lse;
};

struct AttentionBackwardInput {
  const float* dout;  // [n, heads, head_dim]
  int64_t dout_stride;
  const float* out;  // contiguous, of the forward pass
  const float* lse;
};

// Contiguous and overwritten, in the shapes of their inputs.
struct AttentionGradientArrays {
  float* dq;
  float* dk;
  float* dv;
  struct Extra {
    float* dk;
    float* dv;
  };
  std::vector<Extra> extras;
};

// The largest element seen so far of each row, lowest index on ties; NaN never wins.
struct ArgmaxState {
  float* value;    // [rows], at first −∞
  int32_t* index;  // [rows], at first 0
};

struct CrossEntropyRows {
  float* logits;                // [rows, columns]; overwritten
  const float* teacher;         // [·, columns]
  int64_t teacher_stride;       // in elements
  const int32_t* teacher_rows;  // [rows]
  int64_t rows;
  int64_t columns;
  const float* scales;  // [rows], or null: the logits are left as exponentials
  float* loss;          // [rows]: −Σ_v p(v) log q(v)
  int32_t* argmax;      // [rows], of the logits
  bfloat16* rounded;    // [rows, columns] or null
};

struct FloatArray {
  const float* data;
  int64_t size;
};

// One tensor of an AdamW step; at most one copy is given.
struct AdamWTensor {
  float* param;
  const float* grad;
  float* m;
  float* v;
  float* copy;
  bfloat16* rounded_copy;
  int64_t size;
};

struct AdamWStep {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  int64_t step;  // 1 for the first
  double grad_scale;
};

// Σ over a row's experts of weight · down[e] · (act(gate)·up), gate and up being the halves of gate_up[e] ·
// x: written to `out`, or added.
struct ExpertMlpProblem {
  Tensor x;        // [N,H], of the type of the weights
  Tensor experts;  // int32 [N,k], contiguous
  Tensor weights;  // float32 [N,k], contiguous
  Tensor gate_up;  // [E,2I,H]
  Tensor down;     // [E,H,I]
  Activation activation;
  Tensor out;  // float32 [N,H]
  bool accumulate;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- memory
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Release(void* block, size_t bytes) noexcept = 0;
  // From and to the host's memory.
  virtual void Upload(void* to, const void* from, size_t bytes) = 0;
  virtual void Download(void* to, const void* from, size_t bytes) = 0;
  virtual MemoryStats Memory() = 0;
  virtual void ResetPeak() = 0;

  // ---- copies
  // destination = source, element type converted; shapes are equal, strides arbitrary, memory disjoint.
  virtual void Copy(const Tensor& source, const Tensor& destination) = 0;
  virtual void Fill(const Tensor& tensor, double value) = 0;
  // out[i] = std · z[i], z standard normal: Philox4x32-10 with counter i / 4 and the seed as key, then
  // Box-Muller in float64.
  virtual void RandomNormal(float* out, int64_t n, double std, uint64_t seed) = 0;

  // ---- products
  virtual void Gemm(const GemmProblem& problem) = 0;
  // Whether bfloat16 is multiplied without widening it first.
  virtual bool MultipliesBFloat16() = 0;

  // ---- rows. Bytes as they are; table and destination have rows `stride_bytes` apart.
  virtual void GatherRows(const void* table, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                          void* out) = 0;
  // In the order of ids: of two rows with the same id, the later one stays.
  virtual void ScatterRows(void* destination, size_t row_bytes, size_t stride_bytes, const RowIds& ids,
                           const void* source) = 0;
  // destination[ids[i]] += source[i], in the order of i.
  virtual void ScatterAddRows(float* destination, int64_t width, int64_t stride, const RowIds& ids,
                              const float* source) = 0;

  // ---- elementwise, contiguous arrays; `out` may be one of the inputs
  virtual void Add(const float* a, const float* b, float* out, int64_t n) = 0;
  // a += alpha·b
  virtual void AddScaled(float* a, const float* b, float alpha, int64_t n) = 0;
  virtual void Scale(float* a, float factor, int64_t n) = 0;
  virtual void Multiply(const float* a, const float* b, float* out, int64_t n) = 0;
  // Every row of a [rows, width] times the vector b [width].
  virtual void MultiplyRows(const float* a, const float* b, float* out, int64_t rows, int64_t width) = 0;
  virtual void Activate(const float* x, Activation kind, float* out, int64_t n) = 0;
  // act(gate)·up, contiguous
  virtual void GatedActivation(const GatedRows& in, Activation kind, float* out) = 0;
  // dgate = dy·up·act'(gate), dup = dy·act(gate); dy is contiguous, rows of the results are out_stride apart
  virtual void GatedActivationBackward(const GatedRows& in, const float* dy, Activation kind, float* dgate,
                                       float* dup, int64_t out_stride) = 0;

  // ---- norms and softmax
  // out = x · rsqrt(mean(x²) + eps) · weight; weight may be nullptr: 1.
  virtual void RmsNorm(Rows rows, const float* x, const float* weight, float eps, float* out) = 0;
  // dx; dweight, if not nullptr, is added to.
  virtual void RmsNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps,
                               float* dx, float* dweight) = 0;
  // dweight [n,h] += g · diag(norm); dnorm [h] += Σ_n weight ∘ g. weight is float32 or bfloat16; rows of it
  // and of dweight may be strided.
  virtual void FoldedNormBackward(Rows rows, const float* g, const Tensor& weight, const float* norm,
                                  float* dweight, int64_t dweight_stride, float* dnorm) = 0;
  // out = (x − mean) · rsqrt(var + eps) · weight + bias; bias may be nullptr.
  virtual void LayerNorm(Rows rows, const float* x, const float* weight, const float* bias, float eps,
                         float* out) = 0;
  // dx; dweight and dbias, if not nullptr, are added to.
  virtual void LayerNormBackward(Rows rows, const float* dy, const float* x, const float* weight, float eps,
                                 float* dx, float* dweight, float* dbias) = 0;
  // A row of only −infinity gives NaN, as elsewhere. `out` may be x.
  virtual void Softmax(Rows rows, const float* x, float* out) = 0;
  // dx = y·(dy − Σ dy·y)
  virtual void SoftmaxBackward(Rows rows, const float* dy, const float* y, float* dx) = 0;

  // ---- rotary embedding
  virtual void RopeTables(const RopeTableProblem& problem, float* cos, float* sin) = 0;
  virtual void Rope(const RopeProblem& problem, float* out) = 0;

  // ---- attention
  virtual void Attention(const AttentionInput& input, const AttentionOutput& output) = 0;
  virtual void AttentionBackward(const AttentionInput& input, const AttentionBackwardInput& backward,
                                 const AttentionGradientArrays& gradients) = 0;

  // ---- vocabulary
  // Goes on with columns first ≤ j < first + columns of each row; x [rows, columns].
  virtual void UpdateArgmax(const float* x, int64_t rows, int64_t columns, int64_t first,
                            const ArgmaxState& state) = 0;
  // out[i][j] = x[i][columns[j] − first], rows of x [rows, width] contiguous, those of out `stride` apart.
  virtual void TakeColumns(const float* x, Rows rows, const int32_t* columns, int64_t count, int64_t first,
                           float* out, int64_t stride) = 0;
  // Soft cross-entropy of each row and its gradient, scale · (q · Σp − p), written over the logits or, where
  // `rounded` is given, there.
  virtual void SoftCrossEntropy(const CrossEntropyRows& rows) = 0;

  // ---- optimizer
  // √Σ x² in float64.
  virtual double EuclideanNorm(const std::vector<FloatArray>& arrays) = 0;
  // Decoupled weight decay and bias correction (Loshchilov and Hutter, 2019), one pass over the memory.
  virtual void AdamW(const std::vector<AdamWTensor>& tensors, const AdamWStep& step) = 0;

  // ---- mixture of experts
  // Indices and values of the k largest of each row, largest first, the lower index first of equals;
  // `normalize` divides the values of a row by their sum.
  virtual void TopK(Rows rows, const float* x, int64_t k, bool normalize, int32_t* indices,
                    float* values) = 0;
  virtual void ExpertMlp(const ExpertMlpProblem& problem) = 0;
};

// The backend of a device; that of a GPU must have been opened (core/cuda.h).
Backend& BackendOf(Device device);

}  // namespace eyas
