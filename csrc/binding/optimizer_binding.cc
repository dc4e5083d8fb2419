#include "binding/args.h"
#include "binding/modules.h"
#include "core/optimizer.h"

namespace eyas {

namespace {

// gradNorm(grads)
Napi::Value GradNormOp(const Napi::CallbackInfo& info) {
  const Args args("gradNorm", info);
  return Napi::Number::New(info.Env(), GradNorm(args.Tensors(0, "grads")));
}

// adamW(params, grads, m, v, compute, options)
Napi::Value AdamWOp(const Napi::CallbackInfo& info) {
  const Args args("adamW", info);
  const Options options = args.Options(5);
  AdamW({args.Tensors(0, "params"), args.Tensors(1, "grads"), args.Tensors(2, "m"), args.Tensors(3, "v"),
         args.OptionalTensors(4, "compute")},
        {options.Number("lr"), options.Number("beta1"), options.Number("beta2"), options.Number("eps"),
         options.Number("weightDecay"), options.Int("step"), options.Number("gradScale")});
  return info.Env().Undefined();
}

}  // namespace

void InitOptimizer(Napi::Env, Napi::Object exports) {
  Export<GradNormOp>(exports, "gradNorm");
  Export<AdamWOp>(exports, "adamW");
}

}  // namespace eyas
