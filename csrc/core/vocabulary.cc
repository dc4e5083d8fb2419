#include "core/vocabulary.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/ops.h"
#include "cpu/vocabulary.h"

namespace eyas {

namespace {

// Streaming argmax: a chunk of products is 4 MiB, of as many rows as there are if they are no more than
// these.
constexpr int64_t kArgmaxFloats = 1 << 20;
constexpr int64_t kArgmaxRows = 1024;
// Floats of products that are held at a time where a whole row is needed: a chunk more reads the weights and
// adds to their gradient once more.
constexpr int64_t kChunkFloats = 10 << 20;

// Rows of chunks of about equal size.
int64_t ChunkRows(int64_t n, int64_t vocabulary) {
  const int64_t most = std::max<int64_t>(64, kChunkFloats / std::max<int64_t>(1, vocabulary));
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

Tensor Rows(const Tensor& x, int64_t first, int64_t count) { return x.Narrow(0, first, count); }

void CheckTeacherRows(const char* op, const Tensor& rows, int64_t n, int64_t teacher_rows) {
  ExpectDType(op, "teacherRows", rows, DType::kInt32);
  ExpectShape(op, "teacherRows", rows, {n});
  ExpectContiguous(op, "teacherRows", rows);
  for (int64_t i = 0; i < n; ++i) {
    const int32_t row = rows.data<int32_t>()[i];
    if (row < 0 || row >= teacher_rows) {
      Fail(op,
           "a row of teacher, 0 to " + std::to_string(teacher_rows - 1) + ", for teacherRows[" +
               std::to_string(i) + "]",
           std::to_string(row));
    }
  }
}

}  // namespace

Tensor Argmax(const Tensor& x) {
  const char* op = "argmax";
  ExpectDType(op, "x", x, DType::kFloat32);
  if (x.rank() != 1 && x.rank() != 2) Fail(op, "1 or 2 dimensions for x", x.ToString());
  const int64_t columns = x.dim(-1), rows = x.rank() == 2 ? x.dim(0) : 1;
  if (columns == 0) Fail(op, "at least one column in x", x.ToString());
  const Tensor source = Contiguous(x);
  const Tensor index = Tensor::Zeros({rows}, DType::kInt32);
  std::vector<float> value(rows, -std::numeric_limits<float>::infinity());
  cpu::UpdateArgmax(source.data<float>(), rows, columns, 0, {value.data(), index.data<int32_t>()});
  return index;
}

namespace {

// Argmax of x · weightᵀ; visit(chunk) sees each chunk of the products in turn.
template <typename Visit>
Tensor StreamArgmax(const Tensor& x, const Tensor& weight, const Visit& visit) {
  const int64_t n = x.dim(0), vocabulary = weight.dim(0);
  const int64_t most_rows = std::clamp<int64_t>(n, 1, kArgmaxRows);
  const int64_t most_columns = std::clamp<int64_t>(kArgmaxFloats / most_rows, 1, 4 * kArgmaxRows);
  const Tensor factor = Factor(x, weight);
  const Tensor index = Tensor::Zeros({n}, DType::kInt32);
  std::vector<float> value(n, -std::numeric_limits<float>::infinity());
  const Tensor buffer({most_rows * std::min(vocabulary, most_columns)}, DType::kFloat32);
  // Columns outermost: a chunk of the weights is read once for all rows.
  for (int64_t column = 0; column < vocabulary; column += most_columns) {
    const int64_t columns = std::min(most_columns, vocabulary - column);
    const Tensor chunk = Rows(weight, column, columns);
    for (int64_t row = 0; row < n; row += most_rows) {
      const int64_t rows = std::min(most_rows, n - row);
      const Tensor logits = buffer.Narrow(0, 0, rows * columns).Reshape({rows, columns});
      Logits(Rows(factor, row, rows), chunk, logits);
      cpu::UpdateArgmax(logits.data<float>(), rows, columns, column,
                        {value.data() + row, index.data<int32_t>() + row});
      visit(logits, row, column);
    }
  }
  return index;
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
  const int32_t *first = columns.data<int32_t>(), *last = first + columns.size();
  if (first == last) Fail(op, "at least one of columns", columns.ToString());
  for (const int32_t* id = first; id < last; ++id) {
    if (*id < 0 || *id >= weight.dim(0) || (id > first && *id <= id[-1])) {
      Fail(op,
           "ascending columns below " + std::to_string(weight.dim(0)) + " for columns[" +
               std::to_string(id - first) + "]",
           std::to_string(*id));
    }
  }
  TeacherResult result{Tensor(), Tensor({x.dim(0), columns.size()}, DType::kFloat32)};
  const auto take = [&](const Tensor& logits, int64_t row, int64_t column) {
    const int32_t* from = std::lower_bound(first, last, column);
    const int32_t* to = std::lower_bound(from, last, column + logits.dim(1));
    cpu::TakeColumns({logits.data<float>() - column, logits.dim(0), logits.dim(1)}, from, to - from,
                     result.probabilities.data<float>() + row * columns.size() + (from - first),
                     columns.size());
  };
  result.argmax = StreamArgmax(x, weight, take);
  cpu::SoftmaxInPlace(result.probabilities.data<float>(), x.dim(0), columns.size());
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
  const int64_t chunk = ChunkRows(n, vocabulary);
  const Tensor buffer({chunk, vocabulary}, DType::kFloat32);
  const Tensor rounded_buffer = rounded ? Tensor({chunk, vocabulary}, DType::kBFloat16) : Tensor();
  SoftCrossEntropyResult result{0.0, Tensor({n}, DType::kFloat32), Tensor({n}, DType::kInt32),
                                gradient ? Tensor({n, features}, DType::kFloat32) : Tensor()};
  std::vector<double> losses(n);
  for (int64_t row = 0; row < n; row += chunk) {
    const int64_t rows = std::min(chunk, n - row);
    const Tensor x_rows = Rows(factor, row, rows), logits = Rows(buffer, 0, rows);
    Logits(x_rows, weight, logits);
    const Tensor dlogits = rounded ? Rows(rounded_buffer, 0, rows) : logits;
    cpu::SoftCrossEntropy({logits.data<float>(), teacher.data<float>(), teacher.stride(0),
                           args.teacher_rows.data<int32_t>() + row, rows, vocabulary,
                           gradient ? args.scales.data<float>() + row : nullptr, losses.data() + row,
                           result.argmax.data<int32_t>() + row,
                           rounded ? dlogits.data<bfloat16>() : nullptr});
    if (!gradient) continue;
    MatmulArgs to_x;
    to_x.out = Rows(result.dx, row, rows);
    Matmul(dlogits, weight, to_x);
    if (!args.dweight.defined()) continue;
    MatmulArgs to_weight;
    to_weight.transpose_a = true;
    to_weight.out = args.dweight;
    to_weight.accumulate = args.accumulate || row > 0;
    Matmul(dlogits, x_rows, to_weight);
  }
  for (int64_t i = 0; i < n; ++i) {
    result.losses.data<float>()[i] = static_cast<float>(losses[i]);
    result.loss += losses[i];
  }
  return result;
}

}  // namespace eyas
