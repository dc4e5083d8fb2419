#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"

namespace eyas {

namespace {

Activation ToActivation(const Args& args, size_t i) {
  return ParseActivation(args.op(), "kind", args.Text(i, "kind"));
}

// add(a: NativeTensor, b: NativeTensor): NativeTensor
Napi::Value AddTensors(const Napi::CallbackInfo& info) {
  const Args args("add", info);
  return TensorWrap::Wrap(info.Env(), Add(args.Tensor(0, "a"), args.Tensor(1, "b")));
}

// addInPlace(a: NativeTensor, b: NativeTensor, alpha?: number): void
Napi::Value AddTensorInPlace(const Napi::CallbackInfo& info) {
  const Args args("addInPlace", info);
  AddInPlace(args.Tensor(0, "a"), args.Tensor(1, "b"), args.Number(2, "alpha", 1));
  return info.Env().Undefined();
}

// scaleInPlace(a: NativeTensor, factor: number): void
Napi::Value ScaleTensorInPlace(const Napi::CallbackInfo& info) {
  const Args args("scaleInPlace", info);
  ScaleInPlace(args.Tensor(0, "a"), args.Number(1, "factor"));
  return info.Env().Undefined();
}

// mul(a: NativeTensor, b: NativeTensor): NativeTensor
Napi::Value MultiplyTensors(const Napi::CallbackInfo& info) {
  const Args args("mul", info);
  return TensorWrap::Wrap(info.Env(), Multiply(args.Tensor(0, "a"), args.Tensor(1, "b")));
}

// activation(x: NativeTensor, kind: Activation): NativeTensor
Napi::Value ActivateTensor(const Napi::CallbackInfo& info) {
  const Args args("activation", info);
  return TensorWrap::Wrap(info.Env(), Activate(args.Tensor(0, "x"), ToActivation(args, 1)));
}

// gatedActivation(gate: NativeTensor, up: NativeTensor, kind: Activation, out?: NativeTensor):
// NativeTensor | void
Napi::Value GatedForward(const Napi::CallbackInfo& info) {
  const Args args("gatedActivation", info);
  const Tensor out = args.OptionalTensor(3, "out");
  return TensorWrap::Result(
      info.Env(), out,
      GatedActivation(args.Tensor(0, "gate"), args.Tensor(1, "up"), ToActivation(args, 2), out));
}

// gatedActivationBackward(dy: NativeTensor, gate: NativeTensor, up: NativeTensor, kind: Activation,
// out?: NativeTensor): { dgate: NativeTensor; dup: NativeTensor } | void
Napi::Value GatedBackward(const Napi::CallbackInfo& info) {
  const Args args("gatedActivationBackward", info);
  const Tensor out = args.OptionalTensor(4, "out");
  const GatedGradients gradients = GatedActivationBackward(args.Tensor(0, "dy"), args.Tensor(1, "gate"),
                                                           args.Tensor(2, "up"), ToActivation(args, 3), out);
  if (out.defined()) return info.Env().Undefined();
  return Record(info.Env(), {{"dgate", gradients.dgate}, {"dup", gradients.dup}});
}

}  // namespace

void InitElementwise(Napi::Env, Napi::Object exports) {
  Export<AddTensors>(exports, "add");
  Export<AddTensorInPlace>(exports, "addInPlace");
  Export<ScaleTensorInPlace>(exports, "scaleInPlace");
  Export<MultiplyTensors>(exports, "mul");
  Export<ActivateTensor>(exports, "activation");
  Export<GatedForward>(exports, "gatedActivation");
  Export<GatedBackward>(exports, "gatedActivationBackward");
}

}  // namespace eyas
