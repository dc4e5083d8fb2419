#include <cstring>

#include "binding/args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "core/cuda.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/runtime.h"
#include "core/tensor_io.h"

namespace eyas {

namespace {

Napi::Number ToNumber(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

template <typename T>
Tensor CopyArray(const Args& args, const Dims& shape, DType dtype) {
  const Span<T> data = args.TypedArray<T>(0, "data");
  Tensor source(shape, dtype);
  if (static_cast<int64_t>(data.size) != source.size()) {
    Fail("fromData", std::to_string(source.size()) + " elements for shape " + shape.ToString(),
         std::to_string(data.size));
  }
  if (data.size > 0) std::memcpy(source.raw(), data.data, source.bytes());
  return source;
}

// The tensor as its array has it: Float32Array float32, Uint16Array bfloat16, Uint8Array bool …
Tensor FromArray(const Args& args, const Dims& shape, const Napi::Value& data) {
  switch (data.IsTypedArray() ? data.As<Napi::TypedArray>().TypedArrayType() : napi_int8_array) {
    case napi_float32_array:
      return CopyArray<float>(args, shape, DType::kFloat32);
    case napi_uint16_array:
      return CopyArray<uint16_t>(args, shape, DType::kBFloat16);
    case napi_bigint64_array:
      return CopyArray<int64_t>(args, shape, DType::kInt64);
    case napi_int32_array:
      return CopyArray<int32_t>(args, shape, DType::kInt32);
    case napi_uint8_array: {
      const Tensor bytes = CopyArray<uint8_t>(args, shape, DType::kBool);
      uint8_t* flags = bytes.data<uint8_t>();
      for (int64_t i = 0; i < bytes.size(); ++i) flags[i] = flags[i] != 0;
      return bytes;
    }
    default:
      Fail("fromData", "a Float32Array, Uint16Array, BigInt64Array, Int32Array or Uint8Array for data",
           Describe(data));
  }
}

// fromData(data: TensorData, dtype: DType, shape: number[]): NativeTensor
Napi::Value FromData(const Napi::CallbackInfo& info) {
  const Args args("fromData", info);
  const DType dtype = args.DType(1, "dtype");
  const Tensor source = FromArray(args, args.Shape(2, "shape"), info[0]);
  const Tensor tensor = source.dtype() == dtype ? source : Cast(source, dtype);
  return TensorWrap::Wrap(info.Env(), ToDevice(tensor, TensorWrap::DefaultDevice(info.Env())));
}

// zeros(shape: number[], dtype: DType): NativeTensor
Napi::Value Zeros(const Napi::CallbackInfo& info) {
  const Args args("zeros", info);
  return TensorWrap::Wrap(info.Env(), Tensor::Zeros(args.Shape(0, "shape"), args.DType(1, "dtype"),
                                                    TensorWrap::DefaultDevice(info.Env())));
}

// randomNormal(shape: number[], std: number, seed: bigint): NativeTensor
Napi::Value RandomNormal(const Napi::CallbackInfo& info) {
  const Args args("randomNormal", info);
  return TensorWrap::Wrap(
      info.Env(), eyas::RandomNormal(args.Shape(0, "shape"), args.Number(1, "std"), args.Uint64(2, "seed"),
                                     TensorWrap::DefaultDevice(info.Env())));
}

// memory(): MemoryStats
Napi::Value Memory(const Napi::CallbackInfo& info) {
  const MemoryStats stats = BackendOf(TensorWrap::DefaultDevice(info.Env())).Memory();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("liveBytes", ToNumber(info.Env(), stats.live_bytes));
  out.Set("peakBytes", ToNumber(info.Env(), stats.peak_bytes));
  out.Set("liveTensors", ToNumber(info.Env(), TensorWrap::LiveCount()));
  return out;
}

// resetPeakMemory(): void
Napi::Value ResetPeak(const Napi::CallbackInfo& info) {
  BackendOf(TensorWrap::DefaultDevice(info.Env())).ResetPeak();
  return info.Env().Undefined();
}

// setThreads(count: number): void
Napi::Value SetThreadCount(const Napi::CallbackInfo& info) {
  const int64_t count = Args("setThreads", info).Int(0, "count");
  if (count < 1 || count > 1024) Fail("setThreads", "1 to 1024 for count", std::to_string(count));
  SetThreads(static_cast<int>(count));
  return info.Env().Undefined();
}

// setDevice(device: 'cpu' | 'cuda' | `cuda:${number}`): void
Napi::Value SetDevice(const Napi::CallbackInfo& info) {
  const std::string name = Args("setDevice", info).Text(0, "device");
  Device device = Device::kCpu;
  if (name != "cpu") {
    const std::string digits = name == "cuda" ? "0" : name.rfind("cuda:", 0) == 0 ? name.substr(5) : "";
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos) {
      Fail("setDevice", "cpu, cuda or cuda:N", "'" + name + "'");
    }
    OpenCuda(std::stoi(digits));
    device = Device::kCuda;
  }
  TensorWrap::SetDefaultDevice(info.Env(), device);
  return info.Env().Undefined();
}

// cudaDevices(): { devices: CudaDevice[], reason?: string }
Napi::Value Devices(const Napi::CallbackInfo& info) {
  std::string reason;
  const std::vector<CudaDevice> devices = CudaDevices(&reason);
  Napi::Array list = Napi::Array::New(info.Env(), devices.size());
  for (size_t i = 0; i < devices.size(); ++i) {
    Napi::Object device = Napi::Object::New(info.Env());
    device.Set("name", devices[i].name);
    device.Set("computeCapability",
               std::to_string(devices[i].major) + "." + std::to_string(devices[i].minor));
    device.Set("bytes", ToNumber(info.Env(), devices[i].bytes));
    list.Set(static_cast<uint32_t>(i), device);
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("devices", list);
  if (devices.empty()) out.Set("reason", reason);
  return out;
}

// info(): NativeInfo
Napi::Value Info(const Napi::CallbackInfo& info) {
  const RuntimeInfo runtime = GetRuntimeInfo();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("version", EYAS_VERSION);
  out.Set("onednn", runtime.onednn);
  out.Set("isa", runtime.isa);
  out.Set("threads", ToNumber(info.Env(), Threads()));
  out.Set("bfloat16Gemm", Napi::Boolean::New(info.Env(), runtime.bfloat16_gemm));
  return out;
}

// readTensor(path: string, byteOffset: number, shape: number[], fileDtype: DType | 'float16', dtype: DType):
// NativeTensor
Napi::Value Read(const Napi::CallbackInfo& info) {
  const Args args("readTensor", info);
  return TensorWrap::Wrap(
      info.Env(),
      ReadTensor(args.Text(0, "path"), args.Int(1, "byteOffset"), args.Shape(2, "shape"),
                 args.Text(3, "fileDtype"), args.DType(4, "dtype"), TensorWrap::DefaultDevice(info.Env())));
}

// writeTensor(fd: number, byteOffset: number, tensor: NativeTensor): number
Napi::Value Write(const Napi::CallbackInfo& info) {
  const Args args("writeTensor", info);
  return ToNumber(info.Env(), WriteTensor(static_cast<int>(args.Int(0, "fd")), args.Int(1, "byteOffset"),
                                          args.Tensor(2, "tensor")));
}

}  // namespace

void InitTensor(Napi::Env, Napi::Object exports) {
  Export<FromData>(exports, "fromData");
  Export<Zeros>(exports, "zeros");
  Export<RandomNormal>(exports, "randomNormal");
  Export<Memory>(exports, "memory");
  Export<ResetPeak>(exports, "resetPeakMemory");
  Export<SetThreadCount>(exports, "setThreads");
  Export<SetDevice>(exports, "setDevice");
  Export<Devices>(exports, "cudaDevices");
  Export<Info>(exports, "info");
  Export<Read>(exports, "readTensor");
  Export<Write>(exports, "writeTensor");
}

}  // namespace eyas
