#include <stdexcept>

#include "core/check.h"
#include "core/ops.h"

namespace eyas {

namespace {

// Ids in both memories, each checked to name a row.
struct CheckedIds {
  CheckedIds(const char* op, const Tensor& ids, int64_t rows, Device device) {
    ExpectInteger(op, "ids", ids);
    ExpectRank(op, "ids", ids, 1);
    host = HostInts(ids);
    for (size_t i = 0; i < host.size(); ++i) {
      if (host[i] >= 0 && host[i] < rows) continue;
      throw std::out_of_range("[" + std::string(op) + "] expected ids from 0 to " + std::to_string(rows - 1) +
                              ", received " + std::to_string(host[i]) + " at " + std::to_string(i));
    }
    tensor = ToDevice(ids, device);
  }

  RowIds Rows() const { return {host.data(), tensor, static_cast<int64_t>(host.size())}; }

  std::vector<int64_t> host;
  Tensor tensor;
};

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
  CheckedIds ids;
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
  BackendFor(op, {&destination, &source});
  return {CheckedIds(op, ids, destination.dim(0), destination.device()),
          shared ? Cast(source, source.dtype()) : Contiguous(source)};
}

}  // namespace

Tensor GatherRows(const Tensor& table, const Tensor& ids) {
  ExpectRows("gatherRows", "table", table);
  const CheckedIds checked("gatherRows", ids, table.dim(0), table.device());
  const int64_t n = static_cast<int64_t>(checked.host.size());
  const Tensor source = table.ContiguousFrom(table.rank() - 1) ? table : Contiguous(table);
  const size_t element = DTypeSize(table.dtype());
  const Tensor out(RowsShape(table, n), table.dtype(), table.device());
  BackendOf(table.device())
      .GatherRows(source.raw(), RowSize(table) * element, source.stride(0) * element, checked.Rows(),
                  out.raw());
  return table.dtype() == DType::kBFloat16 ? Cast(out, DType::kFloat32) : out;
}

void ScatterRows(const Tensor& destination, const Tensor& ids, const Tensor& source) {
  const Scatter scatter = CheckScatter("scatterRows", destination, ids, source);
  const size_t element = DTypeSize(destination.dtype());
  destination.storage().DropMirror();
  BackendOf(destination.device())
      .ScatterRows(destination.raw(), RowSize(destination) * element, destination.stride(0) * element,
                   scatter.ids.Rows(), scatter.source.raw());
}

void ScatterAddRows(const Tensor& destination, const Tensor& ids, const Tensor& source) {
  ExpectDType("scatterAddRows", "dst", destination, DType::kFloat32);
  const Scatter scatter = CheckScatter("scatterAddRows", destination, ids, source);
  BackendOf(destination.device())
      .ScatterAddRows(destination.data<float>(), RowSize(destination), destination.stride(0),
                      scatter.ids.Rows(), scatter.source.data<float>());
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
  Tensor out(shape, first.dtype(), first.device());
  int64_t start = 0;
  for (const Tensor& tensor : tensors) {
    Copy(tensor, out.Narrow(d, start, tensor.dim(d)));
    start += tensor.dim(d);
  }
  return out;
}

}  // namespace eyas
