#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "binding/napi_setup.h"
#include "core/tensor.h"

namespace eyas {

// The JavaScript class NativeTensor: a handle on a Tensor. dispose() drops the tensor, and its memory with
// the last handle or view; the garbage collector does the same for handles that were forgotten.
class TensorWrap : public Napi::ObjectWrap<TensorWrap> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);
  // A new handle.
  static Napi::Object Wrap(Napi::Env env, Tensor tensor);
  // What an op returns: nothing where the caller gave `out`, else a new handle.
  static Napi::Value Result(Napi::Env env, const Tensor& out, Tensor result);
  // The handle behind a value, or nullptr for any other value, objects of other addons included.
  static TensorWrap* From(const Napi::Value& value);
  // Where the tensors of this environment are made.
  static Device DefaultDevice(Napi::Env env);
  static void SetDefaultDevice(Napi::Env env, Device device);
  // Handles that are neither disposed nor collected, in the whole process.
  static int64_t LiveCount();

  explicit TensorWrap(const Napi::CallbackInfo& info);
  ~TensorWrap() override;

  bool disposed() const { return !tensor_.defined(); }
  const Tensor& tensor() const { return tensor_; }
  // "float32 [2,3]", also after dispose().
  std::string Describe() const;

 private:
  Napi::Value Shape(const Napi::CallbackInfo& info);
  Napi::Value DTypeOfTensor(const Napi::CallbackInfo& info);
  Napi::Value DeviceOfTensor(const Napi::CallbackInfo& info);
  Napi::Value Size(const Napi::CallbackInfo& info);
  Napi::Value Disposed(const Napi::CallbackInfo& info);
  Napi::Value Narrow(const Napi::CallbackInfo& info);
  Napi::Value Reshape(const Napi::CallbackInfo& info);
  Napi::Value Transpose(const Napi::CallbackInfo& info);
  Napi::Value Alias(const Napi::CallbackInfo& info);
  Napi::Value Cast(const Napi::CallbackInfo& info);
  Napi::Value Clone(const Napi::CallbackInfo& info);
  Napi::Value CopyFrom(const Napi::CallbackInfo& info);
  Napi::Value Fill(const Napi::CallbackInfo& info);
  Napi::Value ToTypedArray(const Napi::CallbackInfo& info);
  Napi::Value Dispose(const Napi::CallbackInfo& info);

  template <Napi::Value (TensorWrap::*method)(const Napi::CallbackInfo&)>
  Napi::Value Guarded(const Napi::CallbackInfo& info);
  // The tensor, for a method; throws if it is disposed.
  const Tensor& Live(const char* method) const;
  void Drop(Napi::Env env);

  Tensor tensor_;
  // What is left to say of a disposed tensor.
  DType dtype_ = DType::kFloat32;
  Dims shape_;
  // Bytes that V8 was told of.
  int64_t reported_bytes_ = 0;
};

// A plain object of tensors: Record(env, {{"cos", cos}, {"sin", sin}}).
Napi::Object Record(Napi::Env env, std::initializer_list<std::pair<const char*, Tensor>> tensors);

}  // namespace eyas
