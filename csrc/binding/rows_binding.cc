#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"

namespace eyas {

namespace {

// gatherRows(table: NativeTensor, ids: NativeTensor): NativeTensor
Napi::Value Gather(const Napi::CallbackInfo& info) {
  const Args args("gatherRows", info);
  return TensorWrap::Wrap(info.Env(), GatherRows(args.Tensor(0, "table"), args.Tensor(1, "ids")));
}

// scatterRows(dst: NativeTensor, ids: NativeTensor, src: NativeTensor): void
Napi::Value Scatter(const Napi::CallbackInfo& info) {
  const Args args("scatterRows", info);
  ScatterRows(args.Tensor(0, "dst"), args.Tensor(1, "ids"), args.Tensor(2, "src"));
  return info.Env().Undefined();
}

// scatterAddRows(dst: NativeTensor, ids: NativeTensor, src: NativeTensor): void
Napi::Value ScatterAdd(const Napi::CallbackInfo& info) {
  const Args args("scatterAddRows", info);
  ScatterAddRows(args.Tensor(0, "dst"), args.Tensor(1, "ids"), args.Tensor(2, "src"));
  return info.Env().Undefined();
}

// cat(tensors: NativeTensor[], dim: number): NativeTensor
Napi::Value Cat(const Napi::CallbackInfo& info) {
  const Args args("cat", info);
  return TensorWrap::Wrap(info.Env(), Concatenate(args.Tensors(0, "tensors"), args.Int(1, "dim")));
}

}  // namespace

void InitRows(Napi::Env, Napi::Object exports) {
  Export<Gather>(exports, "gatherRows");
  Export<Scatter>(exports, "scatterRows");
  Export<ScatterAdd>(exports, "scatterAddRows");
  Export<Cat>(exports, "cat");
}

}  // namespace eyas
