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
  return TensorWrap::Result(info.Env(), matmul.out, Matmul(a, b, matmul));
}

}  // namespace

void InitMatmul(Napi::Env, Napi::Object exports) { Export<MatmulTensors>(exports, "matmul"); }

}  // namespace eyas
