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
Tensor ScalesArgument(const Args& args, size_t index, int64_t n) {
  if (!args.IsNumber(index)) return args.OptionalTensor(index, "scale");
  const Tensor scales({n}, DType::kFloat32);
  Fill(scales, args.Number(index, "scale"));
  return scales;
}

// linearSoftCrossEntropy(x, weight, teacher, teacherRows, scale, dweight, accumulate = true)
Napi::Value LinearSoftCrossEntropyOp(const Napi::CallbackInfo& info) {
  const Args args("linearSoftCrossEntropy", info);
  const Tensor teacher_rows = args.Tensor(3, "teacherRows");
  const SoftCrossEntropyResult result =
      LinearSoftCrossEntropy({args.Tensor(0, "x"), args.Tensor(1, "weight"), args.Tensor(2, "teacher"),
                              teacher_rows, ScalesArgument(args, 4, teacher_rows.size()),
                              args.OptionalTensor(5, "dweight"), args.Bool(6, "accumulate", true)});
  Napi::Object record = Record(info.Env(), {{"argmax", result.argmax}, {"losses", result.losses}});
  if (result.dx.defined()) record.Set("dx", TensorWrap::Wrap(info.Env(), result.dx));
  record.Set("loss", result.loss);
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
