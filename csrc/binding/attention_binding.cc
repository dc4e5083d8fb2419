#include "binding/args.h"
#include "binding/modules.h"
#include "core/attention.h"

namespace eyas {

namespace {

AttentionOptions ReadOptions(const Options& options) {
  AttentionOptions out;
  if (options.Has("scale")) out.scale = options.Number("scale");
  for (const Options& extra : options.List("extras")) {
    out.extras.push_back(
        {extra.RequiredTensor("k"), extra.RequiredTensor("v"), extra.RequiredTensor("rows")});
  }
  out.plain = options.Bool("plain", false);
  if (options.Has("dtype")) out.rounded = options.ElementType("dtype") == DType::kBFloat16;
  out.out = options.OptionalTensor("out");
  return out;
}

// attention(q, k, v, begin, end, options?): { out, lse }, or nothing with the option out
Napi::Value AttentionOp(const Napi::CallbackInfo& info) {
  const Args args("attention", info);
  const AttentionArguments arguments{args.Tensor(0, "q"),   args.Tensor(1, "k"),
                                     args.Tensor(2, "v"),   args.Tensor(3, "begin"),
                                     args.Tensor(4, "end"), ReadOptions(args.Options(5))};
  const AttentionResult result = Attention(arguments);
  if (arguments.options.out.defined()) return info.Env().Undefined();
  return Record(info.Env(), {{"out", result.out}, {"lse", result.lse}});
}

// attentionBackward(dout, q, k, v, out, lse, begin, end, options?)
Napi::Value AttentionBackwardOp(const Napi::CallbackInfo& info) {
  const Args args("attentionBackward", info);
  const AttentionGradients gradients =
      AttentionBackward(args.Tensor(0, "dout"), args.Tensor(4, "out"), args.Tensor(5, "lse"),
                        {args.Tensor(1, "q"), args.Tensor(2, "k"), args.Tensor(3, "v"),
                         args.Tensor(6, "begin"), args.Tensor(7, "end"), ReadOptions(args.Options(8))});
  Napi::Object result =
      Record(info.Env(), {{"dq", gradients.dq}, {"dk", gradients.dk}, {"dv", gradients.dv}});
  Napi::Array extras = Napi::Array::New(info.Env());
  for (size_t e = 0; e < gradients.extras.size(); ++e) {
    extras.Set(static_cast<uint32_t>(e),
               Record(info.Env(), {{"dk", gradients.extras[e].dk}, {"dv", gradients.extras[e].dv}}));
  }
  result.Set("extras", extras);
  return result;
}

}  // namespace

void InitAttention(Napi::Env, Napi::Object exports) {
  Export<AttentionOp>(exports, "attention");
  Export<AttentionBackwardOp>(exports, "attentionBackward");
}

}  // namespace eyas
