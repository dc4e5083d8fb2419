#include "core/moe.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.h"
#include "cpu/moe.h"
#include "cpu/rows.h"
#include "cpu/softmax.h"

namespace eyas {

namespace {

constexpr const char* kRoute = "routeTopK";
constexpr const char* kExperts = "expertMlp";

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

Groups GroupByExpert(const Routing& routing, int64_t num_experts) {
  const Tensor chosen = Contiguous(routing.experts);
  const Tensor weights = Contiguous(routing.weights);
  const int32_t* experts = chosen.data<int32_t>();
  const size_t count = static_cast<size_t>(chosen.size());
  Groups groups;
  groups.starts.assign(static_cast<size_t>(num_experts) + 1, 0);
  for (size_t i = 0; i < count; ++i) {
    if (experts[i] < 0 || experts[i] >= num_experts) {
      throw std::out_of_range("[" + std::string(kExperts) + "] expected experts from 0 to " +
                              std::to_string(num_experts - 1) + ", received " + std::to_string(experts[i]) +
                              " at " + std::to_string(i));
    }
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

void CheckArguments(const Tensor& x, const Routing& routing, const Tensor& gate_up, const Tensor& down) {
  ExpectDType(kExperts, "x", x, DType::kFloat32);
  ExpectRank(kExperts, "x", x, 2);
  ExpectDType(kExperts, "experts", routing.experts, DType::kInt32);
  ExpectRank(kExperts, "experts", routing.experts, 2);
  ExpectShape(kExperts, "experts", routing.experts, {x.dim(0), -1});
  ExpectDType(kExperts, "weights", routing.weights, DType::kFloat32);
  ExpectShape(kExperts, "weights", routing.weights, routing.experts.shape());
  ExpectFloating(kExperts, "gateUp", gate_up);
  ExpectShape(kExperts, "gateUp", gate_up, {-1, -1, x.dim(1)});
  ExpectContiguous(kExperts, "gateUp", gate_up);
  if (gate_up.dim(1) % 2 != 0)
    Fail(kExperts, "an even number of rows per expert for gateUp", gate_up.ToString());
  ExpectDType(kExperts, "down", down, gate_up.dtype());
  ExpectShape(kExperts, "down", down, {gate_up.dim(0), x.dim(1), gate_up.dim(1) / 2});
  ExpectContiguous(kExperts, "down", down);
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

Routing RouteTopK(const Tensor& logits, int64_t k, bool normalize) {
  ExpectDType(kRoute, "logits", logits, DType::kFloat32);
  ExpectRank(kRoute, "logits", logits, 2);
  const int64_t rows = logits.dim(0);
  const int64_t num_experts = logits.dim(1);
  if (k < 1 || k > num_experts) {
    Fail(kRoute, "k from 1 to " + std::to_string(num_experts), std::to_string(k));
  }
  const Tensor probabilities = Softmax(logits);
  const Routing routing = {Tensor({rows, k}, DType::kInt32), Tensor({rows, k}, DType::kFloat32)};
  cpu::TopK(probabilities.data<float>(), rows, num_experts, k, normalize, routing.experts.data<int32_t>(),
            routing.weights.data<float>());
  return routing;
}

Tensor ExpertMlp(const Tensor& x, const Routing& routing, const Tensor& gate_up, const Tensor& down,
                 const ExpertMlpArgs& args) {
  CheckArguments(x, routing, gate_up, down);
  const int64_t width = x.dim(1);
  const int64_t intermediate = down.dim(2);
  if (args.accumulate && !args.out.defined()) Fail(kExperts, "out with accumulate", "none");
  const Tensor out =
      FloatsFor(kExperts, args.out, x.shape(), {&x, &routing.experts, &routing.weights, &gate_up, &down});
  const Tensor sum = args.accumulate ? Tensor(x.shape(), DType::kFloat32) : out;
  Fill(sum, 0);
  const Groups groups = GroupByExpert(routing, gate_up.dim(0));
  // Rounded once, not for each of the experts.
  const Tensor source = x.dtype() == gate_up.dtype() ? Contiguous(x) : Cast(x, gate_up.dtype());
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
    cpu::GatherBytes(static_cast<const char*>(source.raw()), row_bytes, row_bytes, ids, rows,
                     static_cast<char*>(inputs.raw()));
    const Tensor both = halves.Narrow(0, 0, rows);
    Matmul(inputs.Narrow(0, 0, rows), MatrixOf(gate_up, e), Into(both));
    GatedActivation(both.Narrow(1, 0, intermediate), both.Narrow(1, intermediate, intermediate),
                    args.activation, gated.Narrow(0, 0, rows));
    Matmul(gated.Narrow(0, 0, rows), MatrixOf(down, e), Into(outputs.Narrow(0, 0, rows)));
    cpu::AddWeightedRows(sum.data<float>(), width, ids, groups.weights.data() + start, rows,
                         outputs.data<float>());
  }
  if (args.accumulate) AddInPlace(out, sum, 1);
  return out;
}

}  // namespace eyas
