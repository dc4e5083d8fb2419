#include "binding/args.h"
#include "binding/modules.h"
#include "core/moe.h"

namespace eyas {

namespace {

// routeTopK(logits: NativeTensor, k: number, normalize: boolean): Routing
Napi::Value RouteRows(const Napi::CallbackInfo& info) {
  const Args args("routeTopK", info);
  const Routing routing =
      RouteTopK(args.Tensor(0, "logits"), args.Int(1, "k"), convert::ToBool(args.op(), "normalize", info[2]));
  return Record(info.Env(), {{"experts", routing.experts}, {"weights", routing.weights}});
}

// expertMlp(x: NativeTensor, routing: Routing, gateUp: NativeTensor, down: NativeTensor,
// options: ExpertMlpOptions): NativeTensor | void
Napi::Value MultiplyExperts(const Napi::CallbackInfo& info) {
  const Args args("expertMlp", info);
  const Options routing = args.Options(1, "routing");
  const Options options = args.Options(4);
  ExpertMlpArgs mlp;
  mlp.activation = ParseActivation(args.op(), "activation", options.Text("activation"));
  mlp.out = options.OptionalTensor("out");
  mlp.accumulate = options.Bool("accumulate", false);
  return TensorWrap::Result(
      info.Env(), mlp.out,
      ExpertMlp(args.Tensor(0, "x"), {routing.RequiredTensor("experts"), routing.RequiredTensor("weights")},
                args.Tensor(2, "gateUp"), args.Tensor(3, "down"), mlp));
}

}  // namespace

void InitMoe(Napi::Env, Napi::Object exports) {
  Export<RouteRows>(exports, "routeTopK");
  Export<MultiplyExperts>(exports, "expertMlp");
}

}  // namespace eyas
