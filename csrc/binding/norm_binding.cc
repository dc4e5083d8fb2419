#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"

namespace eyas {

namespace {

// rmsNorm(x: NativeTensor, weight: NativeTensor | undefined, eps: number, out?: NativeTensor): NativeTensor |
// void
Napi::Value RmsNormForward(const Napi::CallbackInfo& info) {
  const Args args("rmsNorm", info);
  const Tensor out = args.OptionalTensor(3, "out");
  return TensorWrap::Result(
      info.Env(), out,
      RmsNorm(args.Tensor(0, "x"), args.OptionalTensor(1, "weight"), args.Number(2, "eps"), out));
}

// rmsNormBackward(dy: NativeTensor, x: NativeTensor, weight: NativeTensor, eps: number,
// dweight: NativeTensor | undefined): NativeTensor
Napi::Value RmsNormGradient(const Napi::CallbackInfo& info) {
  const Args args("rmsNormBackward", info);
  return TensorWrap::Wrap(info.Env(),
                          RmsNormBackward(args.Tensor(0, "dy"), args.Tensor(1, "x"), args.Tensor(2, "weight"),
                                          args.Number(3, "eps"), args.OptionalTensor(4, "dweight")));
}

// foldedNormBackward(g, weight, norm, dweight, dnorm: NativeTensor): void
Napi::Value FoldedNormGradients(const Napi::CallbackInfo& info) {
  const Args args("foldedNormBackward", info);
  FoldedNormBackward({args.Tensor(0, "g"), args.Tensor(1, "weight"), args.Tensor(2, "norm"),
                      args.Tensor(3, "dweight"), args.Tensor(4, "dnorm")});
  return info.Env().Undefined();
}

// layerNorm(x: NativeTensor, weight: NativeTensor, bias: NativeTensor | undefined, eps: number): NativeTensor
Napi::Value LayerNormForward(const Napi::CallbackInfo& info) {
  const Args args("layerNorm", info);
  return TensorWrap::Wrap(info.Env(), LayerNorm(args.Tensor(0, "x"), args.Tensor(1, "weight"),
                                                args.OptionalTensor(2, "bias"), args.Number(3, "eps")));
}

// layerNormBackward(dy: NativeTensor, x: NativeTensor, weight: NativeTensor, eps: number,
// dweight: NativeTensor | undefined, dbias: NativeTensor | undefined): NativeTensor
Napi::Value LayerNormGradient(const Napi::CallbackInfo& info) {
  const Args args("layerNormBackward", info);
  return TensorWrap::Wrap(
      info.Env(), LayerNormBackward(args.Tensor(0, "dy"), args.Tensor(1, "x"), args.Tensor(2, "weight"),
                                    args.Number(3, "eps"), args.OptionalTensor(4, "dweight"),
                                    args.OptionalTensor(5, "dbias")));
}

// softmax(x: NativeTensor): NativeTensor
Napi::Value SoftmaxForward(const Napi::CallbackInfo& info) {
  return TensorWrap::Wrap(info.Env(), Softmax(Args("softmax", info).Tensor(0, "x")));
}

// softmaxBackward(dy: NativeTensor, y: NativeTensor): NativeTensor
Napi::Value SoftmaxGradient(const Napi::CallbackInfo& info) {
  const Args args("softmaxBackward", info);
  return TensorWrap::Wrap(info.Env(), SoftmaxBackward(args.Tensor(0, "dy"), args.Tensor(1, "y")));
}

}  // namespace

void InitNorm(Napi::Env, Napi::Object exports) {
  Export<RmsNormForward>(exports, "rmsNorm");
  Export<RmsNormGradient>(exports, "rmsNormBackward");
  Export<FoldedNormGradients>(exports, "foldedNormBackward");
  Export<LayerNormForward>(exports, "layerNorm");
  Export<LayerNormGradient>(exports, "layerNormBackward");
  Export<SoftmaxForward>(exports, "softmax");
  Export<SoftmaxGradient>(exports, "softmaxBackward");
}

}  // namespace eyas
