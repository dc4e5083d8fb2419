#include "binding/tensor_wrap.h"

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <unordered_set>

#include "binding/args.h"
#include "binding/errors.h"
#include "core/ops.h"

namespace eyas {

namespace {

// Smaller tensors are not worth a call into V8's accounting.
constexpr size_t kReportedBytes = 64 << 10;
// The collector hears of a part of them only: scopes release almost all tensors, and it starts a cycle for
// every few dozen megabytes that come, though they have gone since.
constexpr size_t kReportedShare = 16;

std::atomic<int64_t> live_handles{0};

// State of one environment: the main thread and every worker thread has its own.
struct AddonData {
  Napi::FunctionReference tensor_class;
  // Hands the tensor to the constructor; JavaScript cannot set it, so `new NativeTensor()` fails there.
  Tensor pending;
  Device device = Device::kCpu;
  // The handles of this environment. A wrapped pointer that is not here belongs to another addon.
  std::unordered_set<const void*> handles;
};

AddonData* Data(Napi::Env env) { return env.GetInstanceData<AddonData>(); }

template <typename T>
Napi::Value CopyToArray(Napi::Env env, const Tensor& tensor) {
  const Tensor source = Contiguous(ToDevice(tensor, Device::kCpu));
  auto array = Napi::TypedArrayOf<T>::New(env, static_cast<size_t>(source.size()));
  if (source.size() > 0) std::memcpy(array.Data(), source.raw(), source.bytes());
  return array;
}

}  // namespace

void TensorWrap::Init(Napi::Env env, Napi::Object exports) {
  // As in a class of JavaScript: a profiler may wrap them.
  constexpr napi_property_attributes kMethod = napi_default_method;
  const Napi::Function tensor_class = DefineClass(
      env, "NativeTensor",
      {
          InstanceAccessor<&TensorWrap::Guarded<&TensorWrap::Shape>>("shape"),
          InstanceAccessor<&TensorWrap::Guarded<&TensorWrap::DTypeOfTensor>>("dtype"),
          InstanceAccessor<&TensorWrap::Guarded<&TensorWrap::DeviceOfTensor>>("device"),
          InstanceAccessor<&TensorWrap::Guarded<&TensorWrap::Size>>("size"),
          InstanceAccessor<&TensorWrap::Guarded<&TensorWrap::Disposed>>("disposed"),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Narrow>>("narrow", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Reshape>>("reshape", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Transpose>>("transpose", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Alias>>("alias", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Cast>>("cast", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Clone>>("clone", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::CopyFrom>>("copyFrom", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Fill>>("fill", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::ToTypedArray>>("toTypedArray", kMethod),
          InstanceMethod<&TensorWrap::Guarded<&TensorWrap::Dispose>>("dispose", kMethod),
      });
  auto* data = new AddonData();
  data->tensor_class = Napi::Persistent(tensor_class);
  env.SetInstanceData(data);
  exports.Set("NativeTensor", tensor_class);
}

Napi::Object TensorWrap::Wrap(Napi::Env env, Tensor tensor) {
  AddonData* data = Data(env);
  data->pending = std::move(tensor);
  return data->tensor_class.New(std::initializer_list<napi_value>{});
}

Napi::Value TensorWrap::Result(Napi::Env env, const Tensor& out, Tensor result) {
  if (out.defined()) return env.Undefined();
  return Wrap(env, std::move(result));
}

TensorWrap* TensorWrap::From(const Napi::Value& value) {
  if (value.IsEmpty() || !value.IsObject()) return nullptr;
  void* wrapped = nullptr;
  if (napi_unwrap(value.Env(), value, &wrapped) != napi_ok) return nullptr;
  return Data(value.Env())->handles.count(wrapped) > 0 ? static_cast<TensorWrap*>(wrapped) : nullptr;
}

Device TensorWrap::DefaultDevice(Napi::Env env) { return Data(env)->device; }

void TensorWrap::SetDefaultDevice(Napi::Env env, Device device) { Data(env)->device = device; }

int64_t TensorWrap::LiveCount() { return live_handles.load(); }

TensorWrap::TensorWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TensorWrap>(info) {
  AddonData* data = Data(info.Env());
  if (!data->pending.defined()) {
    throw Napi::TypeError::New(info.Env(), "[NativeTensor] expected fromData or zeros, received new");
  }
  tensor_ = std::move(data->pending);
  data->pending = Tensor();
  dtype_ = tensor_.dtype();
  shape_ = tensor_.shape();
  data->handles.insert(this);
  live_handles.fetch_add(1);
  // The collector knows of the host's memory.
  if (tensor_.device() == Device::kCpu && tensor_.UniqueStorage() &&
      tensor_.storage_bytes() >= kReportedBytes) {
    reported_bytes_ = static_cast<int64_t>(tensor_.storage_bytes() / kReportedShare);
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_bytes_);
  }
}

TensorWrap::~TensorWrap() {
  Drop(Env());
  // Handles are younger than the addon's data, and an environment that ends finalizes the youngest first.
  Data(Env())->handles.erase(this);
}

void TensorWrap::Drop(Napi::Env env) {
  if (!tensor_.defined()) return;
  tensor_ = Tensor();
  live_handles.fetch_sub(1);
  if (reported_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_bytes_);
}

std::string TensorWrap::Describe() const { return std::string(DTypeName(dtype_)) + " " + shape_.ToString(); }

template <Napi::Value (TensorWrap::*method)(const Napi::CallbackInfo&)>
Napi::Value TensorWrap::Guarded(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&] { return (this->*method)(info); });
}

const Tensor& TensorWrap::Live(const char* method) const {
  if (disposed()) {
    throw std::invalid_argument("[" + std::string(method) +
                                "] expected a live tensor, received a disposed tensor " + Describe());
  }
  return tensor_;
}

// readonly shape: number[]
Napi::Value TensorWrap::Shape(const Napi::CallbackInfo& info) {
  auto shape = Napi::Array::New(info.Env(), static_cast<size_t>(shape_.rank()));
  for (int d = 0; d < shape_.rank(); ++d) shape.Set(static_cast<uint32_t>(d), static_cast<double>(shape_[d]));
  return shape;
}

// readonly dtype: DType
Napi::Value TensorWrap::DTypeOfTensor(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), DTypeName(dtype_));
}

// readonly device: 'cpu' | 'cuda'
Napi::Value TensorWrap::DeviceOfTensor(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), DeviceName(Live("device").device()));
}

// readonly size: number
Napi::Value TensorWrap::Size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(shape_.Product()));
}

// readonly disposed: boolean
Napi::Value TensorWrap::Disposed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), disposed());
}

// narrow(dim: number, start: number, length: number): NativeTensor
Napi::Value TensorWrap::Narrow(const Napi::CallbackInfo& info) {
  const Args args("narrow", info);
  const int64_t dim = args.Int(0, "dim");
  const int64_t start = args.Int(1, "start");
  const int64_t length = args.Int(2, "length");
  return Wrap(info.Env(), Live("narrow").Narrow(dim, start, length));
}

// reshape(shape: number[]): NativeTensor
Napi::Value TensorWrap::Reshape(const Napi::CallbackInfo& info) {
  const Dims shape = Args("reshape", info).Shape(0, "shape");
  return Wrap(info.Env(), Live("reshape").Reshape(shape));
}

// transpose(dim0: number, dim1: number): NativeTensor
Napi::Value TensorWrap::Transpose(const Napi::CallbackInfo& info) {
  const Args args("transpose", info);
  const int64_t dim0 = args.Int(0, "dim0");
  const int64_t dim1 = args.Int(1, "dim1");
  return Wrap(info.Env(), Live("transpose").Transpose(dim0, dim1));
}

// alias(): NativeTensor
Napi::Value TensorWrap::Alias(const Napi::CallbackInfo& info) { return Wrap(info.Env(), Live("alias")); }

// cast(dtype: DType): NativeTensor
Napi::Value TensorWrap::Cast(const Napi::CallbackInfo& info) {
  const DType dtype = Args("cast", info).DType(0, "dtype");
  return Wrap(info.Env(), eyas::Cast(Live("cast"), dtype));
}

// clone(): NativeTensor
Napi::Value TensorWrap::Clone(const Napi::CallbackInfo& info) {
  const Tensor& tensor = Live("clone");
  return Wrap(info.Env(), eyas::Cast(tensor, tensor.dtype()));
}

// copyFrom(source: NativeTensor): void
Napi::Value TensorWrap::CopyFrom(const Napi::CallbackInfo& info) {
  const Tensor source = Args("copyFrom", info).Tensor(0, "source");
  Copy(source, Live("copyFrom"));
  return info.Env().Undefined();
}

// fill(value: number): void
Napi::Value TensorWrap::Fill(const Napi::CallbackInfo& info) {
  const double value = Args("fill", info).Number(0, "value");
  eyas::Fill(Live("fill"), value);
  return info.Env().Undefined();
}

// toTypedArray(): TensorData
Napi::Value TensorWrap::ToTypedArray(const Napi::CallbackInfo& info) {
  const Tensor& tensor = Live("toTypedArray");
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return CopyToArray<float>(info.Env(), tensor);
    case DType::kBFloat16:
      return CopyToArray<uint16_t>(info.Env(), tensor);
    case DType::kInt64:
      return CopyToArray<int64_t>(info.Env(), tensor);
    case DType::kInt32:
      return CopyToArray<int32_t>(info.Env(), tensor);
    case DType::kBool:
      return CopyToArray<uint8_t>(info.Env(), tensor);
  }
  throw std::logic_error("[toTypedArray] unknown dtype");
}

// dispose(): void
Napi::Value TensorWrap::Dispose(const Napi::CallbackInfo& info) {
  Drop(info.Env());
  return info.Env().Undefined();
}

Napi::Object Record(Napi::Env env, std::initializer_list<std::pair<const char*, Tensor>> tensors) {
  Napi::Object record = Napi::Object::New(env);
  for (const auto& [name, tensor] : tensors) record.Set(name, TensorWrap::Wrap(env, tensor));
  return record;
}

}  // namespace eyas
