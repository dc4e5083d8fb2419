#include "core/moe.h"

#include <stdexcept>
#include <string>

#include "core/check.h"

namespace eyas {

namespace {

constexpr const char* kRoute = "routeTopK";
constexpr const char* kExperts = "expertMlp";

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

void CheckExperts(const int32_t* experts, int64_t count, int64_t num_experts) {
  for (int64_t i = 0; i < count; ++i) {
    if (experts[i] >= 0 && experts[i] < num_experts) continue;
    throw std::out_of_range("[" + std::string(kExperts) + "] expected experts from 0 to " +
                            std::to_string(num_experts - 1) + ", received " + std::to_string(experts[i]) +
                            " at " + std::to_string(i));
  }
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
  const Device device = logits.device();
  const Routing routing = {Tensor({rows, k}, DType::kInt32, device),
                           Tensor({rows, k}, DType::kFloat32, device)};
  BackendOf(device).TopK({rows, num_experts}, probabilities.data<float>(), k, normalize,
                         routing.experts.data<int32_t>(), routing.weights.data<float>());
  return routing;
}

Tensor ExpertMlp(const Tensor& x, const Routing& routing, const Tensor& gate_up, const Tensor& down,
                 const ExpertMlpArgs& args) {
  CheckArguments(x, routing, gate_up, down);
  if (args.accumulate && !args.out.defined()) Fail(kExperts, "out with accumulate", "none");
  const Tensor out =
      FloatsFor(kExperts, args.out, x.shape(), {&x, &routing.experts, &routing.weights, &gate_up, &down});
  const Tensor chosen = Contiguous(routing.experts);
  // Those that a device has chosen are in range.
  if (chosen.host() != nullptr)
    CheckExperts(static_cast<const int32_t*>(chosen.host()), chosen.size(), gate_up.dim(0));
  // Rounded once, not for each of the experts.
  const Tensor source = x.dtype() == gate_up.dtype() ? Contiguous(x) : Cast(x, gate_up.dtype());
  BackendFor(kExperts, {&x, &routing.experts, &routing.weights, &gate_up, &down, &out})
      .ExpertMlp({source, chosen, Contiguous(routing.weights), gate_up, down, args.activation, out,
                  args.accumulate});
  return out;
}

}  // namespace eyas
