#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

// Operands of products in the order in which oneDNN's kernels read them. The library packs for itself, but
// anew in every call and at a fraction of the memory's speed.

namespace eyas::cpu {

// Columns of a panel.
constexpr int64_t kPanelColumns = 64;

// The rows of a matrix, wherever they lie, each of `width` contiguous elements.
struct MatrixRows {
  std::vector<const char*> rows;
  int64_t width = 0;
  DType dtype = DType::kFloat32;

  int64_t count() const { return static_cast<int64_t>(rows.size()); }
  // Appends those of x [n, width], whose rows are contiguous.
  void Append(const Tensor& x);
  static MatrixRows Of(const Tensor& x);
};

// Depth of a panel for k rows: a multiple of 64 bytes, zero past k.
int64_t PanelDepth(int64_t k, DType dtype);
// Shape of the panels of b [k,n]: [⌈n/64⌉, depth, 64], in which bfloat16 has each two rows of the depth
// interleaved.
Dims PanelShape(int64_t k, int64_t n, DType dtype);

// Panels of b [k,n], zero past n and k.
Tensor PackPanels(const MatrixRows& b);
// The same from bᵀ [n,k]: the rows of `transposed` are the columns of b.
Tensor PackPanelsTransposed(const MatrixRows& transposed);
// Panels of b [k,n], either of whose dimensions may be the contiguous one.
Tensor PackPanels(const Tensor& b);
// xᵀ [width, count], contiguous.
Tensor TransposeRows(const MatrixRows& x);

}  // namespace eyas::cpu
