#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/tensor.h"

// The operations of lib/native.ts on tensors, products and row-wise functions; attention, vocabulary and
// optimizer have headers of their own. Every op checks its arguments, throws std::invalid_argument "[op]
// expected …, received …", and calls the kernels of csrc/cpu. Shapes: N rows, H features, D head size. Where
// an `out` is given, the result is written there and returned.

namespace eyas {

// ---- copies (ops_copy.cc)
// Contiguous copy with another element type: to nearest even, float to integer toward zero and saturated, to
// bool as x != 0.
Tensor Cast(const Tensor& tensor, DType dtype);
// The tensor itself if it is contiguous.
Tensor Contiguous(const Tensor& tensor);
// The tensor itself if it is there; otherwise a contiguous copy.
Tensor ToDevice(const Tensor& tensor, Device device);
// The elements of an int32 or int64 vector in the host's memory.
std::vector<int64_t> HostInts(const Tensor& tensor);
// Overwrites `destination`, which may be a view, converting the element type. Shapes must be equal.
// The source may be on another device.
void Copy(const Tensor& source, const Tensor& destination);
void Fill(const Tensor& tensor, double value);
Tensor RandomNormal(const Dims& shape, double std, uint64_t seed, Device device = Device::kCpu);

// ---- products (ops_matmul.cc)
struct MatmulArgs {
  bool transpose_a = false;
  bool transpose_b = false;
  Tensor bias;  // float32 [N] or absent
  Tensor out;   // float32 [M,N] or absent
  bool accumulate = false;
  Tensor panels;  // MatmulPanels of b, or absent
};
// a [M,K] · b [K,N] → float32 [M,N]. If either is bfloat16, both are rounded to bfloat16 and products
// accumulate in float32. Up to 16 rows by a transposed b with contiguous rows, each row's bits do not depend
// on how many there are.
Tensor Matmul(const Tensor& a, const Tensor& b, const MatmulArgs& args);
// b as products of more than 16 rows read it: MatmulArgs::panels of a b, of the type that is multiplied, that
// is used again spares them packing it. Absent where this processor's kernels read b itself.
Tensor MatmulPanels(const Tensor& b, bool transpose_b);
// Σ aᵢᵀ·bᵢ → float32 [M,N], or added to `out`: aᵢ [Kᵢ,M], bᵢ [Kᵢ,N], all of one type, rounded as Matmul's.
Tensor MatmulTransposed(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const Tensor& out,
                        bool accumulate);

// ---- rows (ops_rows.cc)
// Rows of table [R,…] named by ids [N] → [N,…]; bfloat16 becomes float32. Ids out of range throw
// std::out_of_range.
Tensor GatherRows(const Tensor& table, const Tensor& ids);
// destination[ids[i]] = source[i]
void ScatterRows(const Tensor& destination, const Tensor& ids, const Tensor& source);
// destination[ids[i]] += source[i], in the order of i
void ScatterAddRows(const Tensor& destination, const Tensor& ids, const Tensor& source);
Tensor Concatenate(const std::vector<Tensor>& tensors, int64_t dim);

// ---- elementwise, float32 (ops_elementwise.cc)
// By its name in lib/native.ts; `name` is the argument's, for the error.
Activation ParseActivation(const char* op, const char* name, const std::string& kind);
Tensor Add(const Tensor& a, const Tensor& b);
// a += alpha·b
void AddInPlace(const Tensor& a, const Tensor& b, double alpha);
void ScaleInPlace(const Tensor& a, double factor);
// b has a's shape, or is a vector that every row of a is multiplied by.
Tensor Multiply(const Tensor& a, const Tensor& b);
Tensor Activate(const Tensor& x, Activation kind);
// act(gate)·up
Tensor GatedActivation(const Tensor& gate, const Tensor& up, Activation kind, const Tensor& out = Tensor());
struct GatedGradients {
  Tensor dgate;
  Tensor dup;
};
// dgate and dup are the halves of `out` [N, 2I], if that is given.
GatedGradients GatedActivationBackward(const Tensor& dy, const Tensor& gate, const Tensor& up,
                                       Activation kind, const Tensor& out = Tensor());

// ---- norms over the last dimension, float32 rows, float32 or bfloat16 weights (ops_norm.cc)
// An absent weight is 1.
Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps, const Tensor& out = Tensor());
// dweight, where given, is added to.
Tensor RmsNormBackward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps,
                       const Tensor& dweight);
// Gradients of y = (x̂ ∘ norm)·weightᵀ, x̂ being rows without a weight that need none of their own, from g =
// Σ dyᵀ·x̂ [N,H]: dweight [N,H] += g·diag(norm), dnorm [H] += Σ_N weight ∘ g. Rows of weight and dweight may
// be strided.
struct FoldedNormArgs {
  Tensor g, weight, norm, dweight, dnorm;
};
void FoldedNormBackward(const FoldedNormArgs& args);
Tensor LayerNorm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
// dweight and dbias, where given, are added to.
Tensor LayerNormBackward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps,
                         const Tensor& dweight, const Tensor& dbias);
Tensor Softmax(const Tensor& x);
Tensor SoftmaxBackward(const Tensor& dy, const Tensor& y);

// ---- rotary embedding (ops_rope.cc)
struct RopeTableArgs {
  std::vector<int64_t> sections;  // frequencies of each axis; empty for one axis
  bool interleaved = false;
  double offset = 0;
  double scaling = 1;
};
struct RopeTables {
  Tensor cos;
  Tensor sin;
};
// positions [axes,N], inverse frequencies [F] → cos and sin [N,F].
RopeTables MakeRopeTables(const Tensor& positions, const Tensor& inverse_frequencies,
                          const RopeTableArgs& args);
// x [N,heads,D], cos and sin [N,F] with 2F ≤ D.
Tensor Rope(const Tensor& x, const Tensor& cos, const Tensor& sin, bool inverse,
            const Tensor& out = Tensor());

}  // namespace eyas
