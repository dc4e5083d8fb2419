#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"
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

// linearTeacher(x, weight, columns)
Napi::Value LinearTeacherOp(const Napi::CallbackInfo& info) {
  const Args args("linearTeacher", info);
  const TeacherResult result =
      LinearTeacher(args.Tensor(0, "x"), args.Tensor(1, "weight"), args.Tensor(2, "columns"));
  return Record(info.Env(), {{"argmax", result.argmax}, {"probabilities", result.probabilities}});
}

// The gradient's factor of each row, given as one number or a tensor; absent where there is none.
Tensor ScalesArgument(const Args& args, size_t index, const Tensor& rows) {
  if (!args.IsNumber(index)) return args.OptionalTensor(index, "scale");
  const Tensor scales({rows.size()}, DType::kFloat32, rows.device());
  Fill(scales, args.Number(index, "scale"));
  return scales;
}

// linearSoftCrossEntropy(x, weight, teacher, teacherRows, scale, dweight, accumulate = true)
Napi::Value LinearSoftCrossEntropyOp(const Napi::CallbackInfo& info) {
  const Args args("linearSoftCrossEntropy", info);
  const Tensor teacher_rows = args.Tensor(3, "teacherRows");
  const SoftCrossEntropyResult result =
      LinearSoftCrossEntropy({args.Tensor(0, "x"), args.Tensor(1, "weight"), args.Tensor(2, "teacher"),
                              teacher_rows, ScalesArgument(args, 4, teacher_rows),
                              args.OptionalTensor(5, "dweight"), args.Bool(6, "accumulate", true)});
  Napi::Object record = Record(info.Env(), {{"argmax", result.argmax}, {"losses", result.losses}});
  if (result.dx.defined()) record.Set("dx", TensorWrap::Wrap(info.Env(), result.dx));
  // Summed when it is asked for: a GPU would have to be waited for.
  const auto sum = [](const Napi::CallbackInfo& call) -> Napi::Value {
    return Guard(call.Env(), [&]() -> Napi::Value {
      const Napi::Value losses = call.This().As<Napi::Object>().Get("losses");
      const Tensor host = ToDevice(convert::ToTensor("loss", "losses", losses), Device::kCpu);
      double total = 0;
      for (int64_t i = 0; i < host.size(); ++i) total += host.data<float>()[i];
      return Napi::Number::New(call.Env(), total);
    });
  };
  record.DefineProperty(Napi::PropertyDescriptor::Accessor(info.Env(), record, "loss", sum, napi_enumerable));
  return record;
}

}  // namespace

void InitVocabulary(Napi::Env, Napi::Object exports) {
  Export<ArgmaxOp>(exports, "argmax");
  Export<LinearArgmaxOp>(exports, "linearArgmax");
  Export<LinearTeacherOp>(exports, "linearTeacher");
  Export<LinearSoftCrossEntropyOp>(exports, "linearSoftCrossEntropy");
}

}  // namespace eyas
