#include "binding/args.h"
#include "binding/modules.h"
#include "core/vocabulary.h"

namespace eyas {

namespace {

// argmax(x)
Napi::Value ArgmaxOp(const Napi::CallbackInfo& info) {
  const Args args("argmax", info);
  return TensorWrap::Wrap(info.Env(), Argmax(args.Tensor(0, "x")));
}

// linearArgmax(x, weight)
Napi::Value LinearArgmaxOp(const Napi::CallbackInfo& info) {
  const Args args("linearArgmax", info);
  return TensorWrap::Wrap(info.Env(), LinearArgmax(args.Tensor(0, "x"), args.Tensor(1, "weight")));
}

// linearSoftmax(x, weight)
Napi::Value LinearSoftmaxOp(const Napi::CallbackInfo& info) {
  const Args args("linearSoftmax", info);
  return TensorWrap::Wrap(info.Env(), LinearSoftmax(args.Tensor(0, "x"), args.Tensor(1, "weight")));
}

// linearSoftCrossEntropy(x, weight, teacher, teacherRows, scale, dweight)
Napi::Value LinearSoftCrossEntropyOp(const Napi::CallbackInfo& info) {
  const Args args("linearSoftCrossEntropy", info);
  const SoftCrossEntropyResult result = LinearSoftCrossEntropy(
      args.Tensor(0, "x"), args.Tensor(1, "weight"), args.Tensor(2, "teacher"), args.Tensor(3, "teacherRows"),
      args.Number(4, "scale"), args.OptionalTensor(5, "dweight"));
  Napi::Object record = Record(info.Env(), {{"argmax", result.argmax}, {"dx", result.dx}});
  record.Set("loss", result.loss);
  return record;
}

}  // namespace

void InitVocabulary(Napi::Env, Napi::Object exports) {
  Export<ArgmaxOp>(exports, "argmax");
  Export<LinearArgmaxOp>(exports, "linearArgmax");
  Export<LinearSoftmaxOp>(exports, "linearSoftmax");
  Export<LinearSoftCrossEntropyOp>(exports, "linearSoftCrossEntropy");
}

}  // namespace eyas
