#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"

namespace eyas {

namespace {

// matmul(a: NativeTensor, b: NativeTensor, options?: MatmulOptions): NativeTensor | void
Napi::Value MatmulTensors(const Napi::CallbackInfo& info) {
  const Args args("matmul", info);
  const Tensor a = args.Tensor(0, "a");
  const Tensor b = args.Tensor(1, "b");
  const Options options = args.Options(2);
  MatmulArgs matmul;
  matmul.transpose_a = options.Bool("transposeA", false);
  matmul.transpose_b = options.Bool("transposeB", false);
  matmul.bias = options.OptionalTensor("bias");
  matmul.out = options.OptionalTensor("out");
  matmul.accumulate = options.Bool("accumulate", false);
  matmul.panels = options.OptionalTensor("panels");
  return TensorWrap::Result(info.Env(), matmul.out, Matmul(a, b, matmul));
}

// matmulPanels(b: NativeTensor, transposeB?: boolean): NativeTensor | undefined
Napi::Value Panels(const Napi::CallbackInfo& info) {
  const Args args("matmulPanels", info);
  const Tensor panels = MatmulPanels(args.Tensor(0, "b"), args.Bool(1, "transposeB", false));
  return panels.defined() ? Napi::Value(TensorWrap::Wrap(info.Env(), panels)) : info.Env().Undefined();
}

// matmulTransposed(a: NativeTensor[], b: NativeTensor[], options?): NativeTensor | void
Napi::Value MatmulTransposedTensors(const Napi::CallbackInfo& info) {
  const Args args("matmulTransposed", info);
  const Options options = args.Options(2);
  const Tensor out = options.OptionalTensor("out");
  const bool accumulate = options.Bool("accumulate", false);
  return TensorWrap::Result(info.Env(), out,
                            MatmulTransposed(args.Tensors(0, "a"), args.Tensors(1, "b"), out, accumulate));
}

}  // namespace

void InitMatmul(Napi::Env, Napi::Object exports) {
  Export<MatmulTensors>(exports, "matmul");
  Export<Panels>(exports, "matmulPanels");
  Export<MatmulTransposedTensors>(exports, "matmulTransposed");
}

}  // namespace eyas
