#include <stdexcept>

#include "core/check.h"
#include "core/ops.h"
#include "cpu/rows.h"

namespace eyas {

namespace {

// Ids as a vector, each checked to name a row.
std::vector<int64_t> CheckedIds(const char* op, const Tensor& ids, int64_t rows) {
  ExpectInteger(op, "ids", ids);
  ExpectRank(op, "ids", ids, 1);
  std::vector<int64_t> out(static_cast<size_t>(ids.size()));
  for (int64_t i = 0; i < ids.size(); ++i) {
    const int64_t at = i * ids.stride(0);
    const int64_t id = ids.dtype() == DType::kInt32 ? ids.data<int32_t>()[at] : ids.data<int64_t>()[at];
    if (id < 0 || id >= rows) {
      throw std::out_of_range("[" + std::string(op) + "] expected ids from 0 to " + std::to_string(rows - 1) +
                              ", received " + std::to_string(id) + " at " + std::to_string(i));
    }
    out[static_cast<size_t>(i)] = id;
  }
  return out;
}

void ExpectRows(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.rank() == 0) Fail(op, std::string("1 dimension or more for ") + name, tensor.ToString());
}

// Shape of n rows of a table.
Dims RowsShape(const Tensor& table, int64_t n) {
  Dims shape = table.shape();
  shape[0] = n;
  return shape;
}

int64_t RowSize(const Tensor& table) { return RowsShape(table, 1).Product(); }

// Arguments of a scatter: the ids, and the source rows side by side.
struct Scatter {
  std::vector<int64_t> ids;
  Tensor source;
};

Scatter CheckScatter(const char* op, const Tensor& destination, const Tensor& ids, const Tensor& source) {
  ExpectRows(op, "dst", destination);
  ExpectRank(op, "ids", ids, 1);
  ExpectDType(op, "src", source, destination.dtype());
  ExpectShape(op, "src", source, RowsShape(destination, ids.dim(0)));
  if (!destination.ContiguousFrom(destination.rank() - 1)) {
    Fail(op, "contiguous rows for dst",
         destination.ToString() + " with strides " + destination.strides().ToString());
  }
  const bool shared = source.Overlaps(destination);
  return {CheckedIds(op, ids, destination.dim(0)),
          shared ? Cast(source, source.dtype()) : Contiguous(source)};
}

}  // namespace

Tensor GatherRows(const Tensor& table, const Tensor& ids) {
  ExpectRows("gatherRows", "table", table);
  const std::vector<int64_t> checked = CheckedIds("gatherRows", ids, table.dim(0));
  const int64_t n = static_cast<int64_t>(checked.size());
  const Tensor source = table.ContiguousFrom(table.rank() - 1) ? table : Contiguous(table);
  const size_t element = DTypeSize(table.dtype());
  const Tensor out(RowsShape(table, n), table.dtype());
  cpu::GatherBytes(static_cast<const char*>(source.raw()), RowSize(table) * element,
                   source.stride(0) * element, checked.data(), n, static_cast<char*>(out.raw()));
  return table.dtype() == DType::kBFloat16 ? Cast(out, DType::kFloat32) : out;
}

void ScatterRows(const Tensor& destination, const Tensor& ids, const Tensor& source) {
  const Scatter scatter = CheckScatter("scatterRows", destination, ids, source);
  const size_t element = DTypeSize(destination.dtype());
  cpu::ScatterBytes(static_cast<char*>(destination.raw()), RowSize(destination) * element,
                    destination.stride(0) * element, scatter.ids.data(),
                    static_cast<int64_t>(scatter.ids.size()), static_cast<const char*>(scatter.source.raw()));
}

void ScatterAddRows(const Tensor& destination, const Tensor& ids, const Tensor& source) {
  ExpectDType("scatterAddRows", "dst", destination, DType::kFloat32);
  const Scatter scatter = CheckScatter("scatterAddRows", destination, ids, source);
  cpu::ScatterAdd(destination.data<float>(), RowSize(destination), destination.stride(0), scatter.ids.data(),
                  static_cast<int64_t>(scatter.ids.size()), scatter.source.data<float>());
}

Tensor Concatenate(const std::vector<Tensor>& tensors, int64_t dim) {
  constexpr const char* kOp = "cat";
  if (tensors.empty()) Fail(kOp, "at least one tensor", "none");
  const Tensor& first = tensors.front();
  const int64_t rank = first.rank();
  if (dim < -rank || dim >= rank) Fail(kOp, "a dimension of " + first.ToString(), std::to_string(dim));
  const int d = static_cast<int>(dim < 0 ? dim + rank : dim);
  Dims shape = first.shape();
  shape[d] = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = "tensors[" + std::to_string(i) + "]";
    Dims wanted = first.shape();
    wanted[d] = -1;
    ExpectDType(kOp, name.c_str(), tensors[i], first.dtype());
    ExpectShape(kOp, name.c_str(), tensors[i], wanted);
    shape[d] += tensors[i].dim(d);
  }
  Tensor out(shape, first.dtype());
  int64_t start = 0;
  for (const Tensor& tensor : tensors) {
    Copy(tensor, out.Narrow(d, start, tensor.dim(d)));
    start += tensor.dim(d);
  }
  return out;
}

}  // namespace eyas
