#include "core/vocabulary.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/ops.h"

namespace eyas {

namespace {

// Sizes of chunks of products. On the CPU they stay in the cache; a GPU needs large products to be busy.
struct ChunkSizes {
  // Streaming argmax: floats, of as many rows as there are if they are no more than these, and of no more
  // columns.
  int64_t argmax_floats;
  int64_t argmax_rows;
  int64_t argmax_columns;
  // Where a whole row is needed: a chunk more reads the weights and adds to their gradient once more.
  int64_t row_floats;
};
constexpr ChunkSizes kOnCpu = {1 << 20, 1024, 4096, 10 << 20};
constexpr ChunkSizes kOnGpu = {64 << 20, 8192, std::numeric_limits<int32_t>::max(), 64 << 20};

const ChunkSizes& SizesOn(Device device) { return device == Device::kCpu ? kOnCpu : kOnGpu; }

// Rows of chunks of about equal size.
int64_t ChunkRows(int64_t n, int64_t vocabulary, Device device) {
  const int64_t most = std::max<int64_t>(64, SizesOn(device).row_floats / std::max<int64_t>(1, vocabulary));
  const int64_t chunks = std::max<int64_t>(1, (n + most - 1) / most);
  return std::max<int64_t>(1, (n + chunks - 1) / chunks);
}

void CheckLinear(const char* op, const Tensor& x, const Tensor& weight) {
  ExpectFloating(op, "x", x);
  ExpectRank(op, "x", x, 2);
  ExpectFloating(op, "weight", weight);
  ExpectShape(op, "weight", weight, {-1, x.dim(1)});
  if (weight.dim(0) == 0) Fail(op, "a vocabulary in weight", weight.ToString());
  if (weight.dim(0) > std::numeric_limits<int32_t>::max()) {
    Fail(op, "a vocabulary that int32 can name in weight", weight.ToString());
  }
}

// x in the type in which it is multiplied by weight, once instead of for every chunk.
Tensor Factor(const Tensor& x, const Tensor& weight) {
  const bool rounded = x.dtype() == DType::kBFloat16 || weight.dtype() == DType::kBFloat16;
  return rounded && x.dtype() == DType::kFloat32 ? Cast(x, DType::kBFloat16) : Contiguous(x);
}

// out = x · weightᵀ
void Logits(const Tensor& x, const Tensor& weight, const Tensor& out) {
  MatmulArgs args;
  args.transpose_b = true;
  args.out = out;
  Matmul(x, weight, args);
}

Tensor RowsOf(const Tensor& x, int64_t first, int64_t count) { return x.Narrow(0, first, count); }

void CheckTeacherRows(const char* op, const Tensor& rows, int64_t n, int64_t teacher_rows) {
  ExpectDType(op, "teacherRows", rows, DType::kInt32);
  ExpectShape(op, "teacherRows", rows, {n});
  ExpectContiguous(op, "teacherRows", rows);
  const auto* ids = static_cast<const int32_t*>(rows.host());
  for (int64_t i = 0; ids != nullptr && i < n; ++i) {
    const int32_t row = ids[i];
    if (row < 0 || row >= teacher_rows) {
      Fail(op,
           "a row of teacher, 0 to " + std::to_string(teacher_rows - 1) + ", for teacherRows[" +
               std::to_string(i) + "]",
           std::to_string(row));
    }
  }
}

}  // namespace

namespace {

struct ArgmaxTensors {
  ArgmaxTensors(int64_t rows, Device device)
      : value({rows}, DType::kFloat32, device), index(Tensor::Zeros({rows}, DType::kInt32, device)) {
    Fill(value, -std::numeric_limits<double>::infinity());
  }

  ArgmaxState State(int64_t row) const { return {value.data<float>() + row, index.data<int32_t>() + row}; }

  Tensor value;
  Tensor index;
};

}  // namespace

Tensor Argmax(const Tensor& x) {
  const char* op = "argmax";
  ExpectDType(op, "x", x, DType::kFloat32);
  if (x.rank() != 1 && x.rank() != 2) Fail(op, "1 or 2 dimensions for x", x.ToString());
  const int64_t columns = x.dim(-1), rows = x.rank() == 2 ? x.dim(0) : 1;
  if (columns == 0) Fail(op, "at least one column in x", x.ToString());
  const Tensor source = Contiguous(x);
  const ArgmaxTensors best(rows, x.device());
  BackendOf(x.device()).UpdateArgmax(source.data<float>(), rows, columns, 0, best.State(0));
  return best.index;
}

namespace {

// Argmax of x · weightᵀ; visit(chunk) sees each chunk of the products in turn.
template <typename Visit>
Tensor StreamArgmax(const Tensor& x, const Tensor& weight, const Visit& visit) {
  const int64_t n = x.dim(0), vocabulary = weight.dim(0);
  const ChunkSizes& sizes = SizesOn(x.device());
  const int64_t most_rows = std::clamp<int64_t>(n, 1, sizes.argmax_rows);
  int64_t most_columns = std::clamp<int64_t>(sizes.argmax_floats / most_rows, 1, sizes.argmax_columns);
  // Whole tiles, and rows of the result that begin where vectors do.
  if (most_columns > 256) most_columns = most_columns / 256 * 256;
  Backend& backend = BackendFor("linearArgmax", {&x, &weight});
  const Tensor factor = Factor(x, weight);
  const ArgmaxTensors best(n, x.device());
  const Tensor buffer({most_rows * std::min(vocabulary, most_columns)}, DType::kFloat32, x.device());
  // Columns outermost: a chunk of the weights is read once for all rows.
  for (int64_t column = 0; column < vocabulary; column += most_columns) {
    const int64_t columns = std::min(most_columns, vocabulary - column);
    const Tensor chunk = RowsOf(weight, column, columns);
    for (int64_t row = 0; row < n; row += most_rows) {
      const int64_t rows = std::min(most_rows, n - row);
      const Tensor logits = buffer.Narrow(0, 0, rows * columns).Reshape({rows, columns});
      Logits(RowsOf(factor, row, rows), chunk, logits);
      backend.UpdateArgmax(logits.data<float>(), rows, columns, column, best.State(row));
      visit(logits, row, column);
    }
  }
  return best.index;
}

}  // namespace

Tensor LinearArgmax(const Tensor& x, const Tensor& weight) {
  CheckLinear("linearArgmax", x, weight);
  return StreamArgmax(x, weight, [](const Tensor&, int64_t, int64_t) {});
}

TeacherResult LinearTeacher(const Tensor& x, const Tensor& weight, const Tensor& columns) {
  const char* op = "linearTeacher";
  CheckLinear(op, x, weight);
  ExpectDType(op, "columns", columns, DType::kInt32);
  ExpectRank(op, "columns", columns, 1);
  ExpectContiguous(op, "columns", columns);
  const std::vector<int64_t> ids = HostInts(columns);
  if (ids.empty()) Fail(op, "at least one of columns", columns.ToString());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= weight.dim(0) || (i > 0 && ids[i] <= ids[i - 1])) {
      Fail(op,
           "ascending columns below " + std::to_string(weight.dim(0)) + " for columns[" + std::to_string(i) +
               "]",
           std::to_string(ids[i]));
    }
  }
  const int64_t count = columns.size();
  Backend& backend = BackendFor(op, {&x, &weight, &columns});
  TeacherResult result{Tensor(), Tensor({x.dim(0), count}, DType::kFloat32, x.device())};
  const auto take = [&](const Tensor& logits, int64_t row, int64_t column) {
    const auto from = std::lower_bound(ids.begin(), ids.end(), column) - ids.begin();
    const auto to = std::lower_bound(ids.begin() + from, ids.end(), column + logits.dim(1)) - ids.begin();
    if (from == to) return;
    backend.TakeColumns(logits.data<float>(), {logits.dim(0), logits.dim(1)}, columns.data<int32_t>() + from,
                        to - from, column, result.probabilities.data<float>() + row * count + from, count);
  };
  result.argmax = StreamArgmax(x, weight, take);
  float* probabilities = result.probabilities.data<float>();
  backend.Softmax({x.dim(0), count}, probabilities, probabilities);
  return result;
}

SoftCrossEntropyResult LinearSoftCrossEntropy(const SoftCrossEntropyArgs& args) {
  const char* op = "linearSoftCrossEntropy";
  const Tensor &weight = args.weight, &teacher = args.teacher;
  CheckLinear(op, args.x, weight);
  const int64_t n = args.x.dim(0), features = args.x.dim(1), vocabulary = weight.dim(0);
  ExpectDType(op, "teacher", teacher, DType::kFloat32);
  ExpectShape(op, "teacher", teacher, {-1, vocabulary});
  if (!teacher.ContiguousFrom(1)) Fail(op, "contiguous rows for teacher", teacher.ToString());
  CheckTeacherRows(op, args.teacher_rows, n, teacher.dim(0));
  const bool gradient = args.scales.defined();
  if (gradient) {
    ExpectDType(op, "scale", args.scales, DType::kFloat32);
    ExpectShape(op, "scale", args.scales, {n});
    ExpectContiguous(op, "scale", args.scales);
  }
  if (args.dweight.defined()) {
    if (!gradient) Fail(op, "scale with dweight", "none");
    ExpectDType(op, "dweight", args.dweight, DType::kFloat32);
    ExpectShape(op, "dweight", args.dweight, {vocabulary, features});
    ExpectContiguous(op, "dweight", args.dweight);
    if (n == 0 && !args.accumulate) Fill(args.dweight, 0);
  }
  const Tensor factor = Factor(args.x, weight);
  const bool rounded = gradient && factor.dtype() == DType::kBFloat16;
  const int64_t chunk = ChunkRows(n, vocabulary, args.x.device());
  Backend& backend =
      BackendFor(op, {&args.x, &weight, &teacher, &args.teacher_rows, &args.scales, &args.dweight});
  const Device device = args.x.device();
  const Tensor buffer({chunk, vocabulary}, DType::kFloat32, device);
  const Tensor rounded_buffer = rounded ? Tensor({chunk, vocabulary}, DType::kBFloat16, device) : Tensor();
  SoftCrossEntropyResult result{Tensor({n}, DType::kFloat32, device), Tensor({n}, DType::kInt32, device),
                                gradient ? Tensor({n, features}, DType::kFloat32, device) : Tensor()};
  for (int64_t row = 0; row < n; row += chunk) {
    const int64_t rows = std::min(chunk, n - row);
    const Tensor x_rows = RowsOf(factor, row, rows), logits = RowsOf(buffer, 0, rows);
    Logits(x_rows, weight, logits);
    const Tensor dlogits = rounded ? RowsOf(rounded_buffer, 0, rows) : logits;
    backend.SoftCrossEntropy({logits.data<float>(), teacher.data<float>(), teacher.stride(0),
                              args.teacher_rows.data<int32_t>() + row, rows, vocabulary,
                              gradient ? args.scales.data<float>() + row : nullptr,
                              result.losses.data<float>() + row, result.argmax.data<int32_t>() + row,
                              rounded ? dlogits.data<bfloat16>() : nullptr});
    if (!gradient) continue;
    MatmulArgs to_x;
    to_x.out = RowsOf(result.dx, row, rows);
    Matmul(dlogits, weight, to_x);
    if (!args.dweight.defined()) continue;
    MatmulArgs to_weight;
    to_weight.transpose_a = true;
    to_weight.out = args.dweight;
    to_weight.accumulate = args.accumulate || row > 0;
    Matmul(dlogits, x_rows, to_weight);
  }
  return result;
}

}  // namespace eyas
