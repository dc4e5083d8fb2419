#include <algorithm>
#include <vector>

#include "core/ops.h"
#include "cpu/moe.h"
#include "cpu/rows.h"

namespace eyas::cpu {

namespace {

// The rows that each expert was chosen for: those of expert e lie from starts[e] to starts[e + 1], ascending.
struct Groups {
  std::vector<int64_t> starts;
  std::vector<int64_t> rows;
  std::vector<float> weights;

  int64_t Largest() const {
    int64_t largest = 0;
    for (size_t e = 0; e + 1 < starts.size(); ++e) largest = std::max(largest, starts[e + 1] - starts[e]);
    return largest;
  }
};

Groups GroupByExpert(const Tensor& chosen, const Tensor& weights, int64_t num_experts) {
  const int32_t* experts = chosen.data<int32_t>();
  const size_t count = static_cast<size_t>(chosen.size());
  Groups groups;
  groups.starts.assign(static_cast<size_t>(num_experts) + 1, 0);
  for (size_t i = 0; i < count; ++i) {
    ++groups.starts[static_cast<size_t>(experts[i]) + 1];
  }
  for (size_t e = 1; e < groups.starts.size(); ++e) groups.starts[e] += groups.starts[e - 1];
  groups.rows.resize(count);
  groups.weights.resize(count);
  std::vector<int64_t> next(groups.starts.begin(), groups.starts.end() - 1);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(next[static_cast<size_t>(experts[i])]++);
    groups.rows[at] = static_cast<int64_t>(i) / chosen.dim(1);
    groups.weights[at] = weights.data<float>()[i];
  }
  return groups;
}

// Matrix e of [E,out,in], as the right side of a product.
Tensor MatrixOf(const Tensor& stack, int64_t e) {
  return stack.Narrow(0, e, 1).Reshape({stack.dim(1), stack.dim(2)}).Transpose(0, 1);
}

MatmulArgs Into(const Tensor& out) {
  MatmulArgs args;
  args.out = out;
  return args;
}

}  // namespace

void ExpertMlp(const ExpertMlpProblem& problem) {
  const auto& [source, experts, weights, gate_up, down, activation, out, accumulate] = problem;
  const int64_t width = source.dim(1), intermediate = down.dim(2);
  const Tensor sum = accumulate ? Tensor(out.shape(), DType::kFloat32) : out;
  Fill(sum, 0);
  const Groups groups = GroupByExpert(experts, weights, gate_up.dim(0));
  const int64_t row_bytes = width * static_cast<int64_t>(DTypeSize(source.dtype()));

  const int64_t largest = groups.Largest();
  const Tensor inputs({largest, width}, source.dtype());
  const Tensor halves({largest, 2 * intermediate}, DType::kFloat32);
  const Tensor gated({largest, intermediate}, DType::kFloat32);
  const Tensor outputs({largest, width}, DType::kFloat32);
  for (int64_t e = 0; e < gate_up.dim(0); ++e) {
    const int64_t start = groups.starts[static_cast<size_t>(e)];
    const int64_t rows = groups.starts[static_cast<size_t>(e) + 1] - start;
    if (rows == 0) continue;
    const int64_t* ids = groups.rows.data() + start;
    GatherBytes(static_cast<const char*>(source.raw()), row_bytes, row_bytes, ids, rows,
                static_cast<char*>(inputs.raw()));
    const Tensor both = halves.Narrow(0, 0, rows);
    Matmul(inputs.Narrow(0, 0, rows), MatrixOf(gate_up, e), Into(both));
    GatedActivation(both.Narrow(1, 0, intermediate), both.Narrow(1, intermediate, intermediate), activation,
                    gated.Narrow(0, 0, rows));
    Matmul(gated.Narrow(0, 0, rows), MatrixOf(down, e), Into(outputs.Narrow(0, 0, rows)));
    AddWeightedRows(sum.data<float>(), width, ids, groups.weights.data() + start, rows,
                    outputs.data<float>());
  }
  if (accumulate) AddInPlace(out, sum, 1);
}

}  // namespace eyas::cpu
