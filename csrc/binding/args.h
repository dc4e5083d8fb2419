#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "binding/errors.h"
#include "binding/napi_setup.h"
#include "binding/tensor_wrap.h"
#include "core/tensor.h"

namespace eyas {

// Elements of a typed array; they live as long as the JavaScript array, that is through the call.
template <typename T>
struct Span {
  T* data;
  size_t size;
};

// Conversions of one JavaScript value. `op` is the exported function, `name` the argument or option; all
// throw std::invalid_argument "[op] expected … for name, received …".
namespace convert {

Tensor ToTensor(const char* op, const char* name, const Napi::Value& value);
// undefined and null give an absent Tensor.
Tensor ToOptionalTensor(const char* op, const char* name, const Napi::Value& value);
std::vector<Tensor> ToTensors(const char* op, const char* name, const Napi::Value& value);
// Entries may be undefined.
std::vector<Tensor> ToOptionalTensors(const char* op, const char* name, const Napi::Value& value);
Dims ToDims(const char* op, const char* name, const Napi::Value& value);
double ToNumber(const char* op, const char* name, const Napi::Value& value);
// A number without a fraction, within ±2^53.
int64_t ToInt(const char* op, const char* name, const Napi::Value& value);
bool ToBool(const char* op, const char* name, const Napi::Value& value);
std::string ToText(const char* op, const char* name, const Napi::Value& value);
DType ToDType(const char* op, const char* name, const Napi::Value& value);
uint64_t ToUint64(const char* op, const char* name, const Napi::Value& value);
// An array of numbers.
std::vector<double> ToNumbers(const char* op, const char* name, const Napi::Value& value);
std::vector<int64_t> ToInts(const char* op, const char* name, const Napi::Value& value);
// T is uint8_t, uint16_t, int32_t, int64_t, float or double, for Uint8Array (also Buffer), Uint16Array,
// Int32Array, BigInt64Array, Float32Array or Float64Array.
template <typename T>
Span<T> ToSpan(const char* op, const char* name, const Napi::Value& value);

}  // namespace convert

// What a value is, for messages: "a string", "undefined", "a Float64Array", "an object".
std::string Describe(const Napi::Value& value);

// The options object of a call: const Options options = args.Options(2). Each getter takes the option's name;
// an option that is absent (undefined) gives the default, or an error where there is none.
class Options {
 public:
  Options(const char* op, const char* name, const Napi::Value& value);

  bool Has(const char* name) const;
  Tensor RequiredTensor(const char* name) const;
  Tensor OptionalTensor(const char* name) const;
  double Number(const char* name, std::optional<double> fallback = std::nullopt) const;
  int64_t Int(const char* name, std::optional<int64_t> fallback = std::nullopt) const;
  bool Bool(const char* name, bool fallback) const;
  std::string Text(const char* name) const;
  eyas::DType ElementType(const char* name) const;
  std::vector<double> Numbers(const char* name) const;
  std::vector<int64_t> Ints(const char* name) const;
  Options Object(const char* name) const;
  // An array of objects; empty when absent.
  std::vector<Options> List(const char* name) const;
  template <typename T>
  Span<T> TypedArray(const char* name) const {
    return convert::ToSpan<T>(op_, name, Get(name));
  }

 private:
  Napi::Value Get(const char* name) const;

  const char* op_;
  Napi::Env env_;
  Napi::Object object_;  // empty when the options are absent
};

namespace convert {

// An array of objects; empty when absent.
std::vector<Options> ToList(const char* op, const char* name, const Napi::Value& value);

}  // namespace convert

// The arguments of an exported function, by position.
class Args {
 public:
  Args(const char* op, const Napi::CallbackInfo& info) : op_(op), info_(info) {}

  const char* op() const { return op_; }
  Napi::Env env() const { return info_.Env(); }

  eyas::Tensor Tensor(size_t i, const char* name) const { return convert::ToTensor(op_, name, info_[i]); }
  eyas::Tensor OptionalTensor(size_t i, const char* name) const {
    return convert::ToOptionalTensor(op_, name, info_[i]);
  }
  std::vector<eyas::Tensor> Tensors(size_t i, const char* name) const {
    return convert::ToTensors(op_, name, info_[i]);
  }
  std::vector<eyas::Tensor> OptionalTensors(size_t i, const char* name) const {
    return convert::ToOptionalTensors(op_, name, info_[i]);
  }
  Dims Shape(size_t i, const char* name) const { return convert::ToDims(op_, name, info_[i]); }
  bool IsNumber(size_t i) const { return info_[i].IsNumber(); }
  double Number(size_t i, const char* name) const { return convert::ToNumber(op_, name, info_[i]); }
  double Number(size_t i, const char* name, double fallback) const {
    return info_[i].IsUndefined() ? fallback : Number(i, name);
  }
  int64_t Int(size_t i, const char* name) const { return convert::ToInt(op_, name, info_[i]); }
  std::vector<int64_t> Ints(size_t i, const char* name) const { return convert::ToInts(op_, name, info_[i]); }
  bool Bool(size_t i, const char* name, bool fallback) const {
    return info_[i].IsUndefined() ? fallback : convert::ToBool(op_, name, info_[i]);
  }
  std::string Text(size_t i, const char* name) const { return convert::ToText(op_, name, info_[i]); }
  eyas::DType DType(size_t i, const char* name) const { return convert::ToDType(op_, name, info_[i]); }
  uint64_t Uint64(size_t i, const char* name) const { return convert::ToUint64(op_, name, info_[i]); }
  template <typename T>
  Span<T> TypedArray(size_t i, const char* name) const {
    return convert::ToSpan<T>(op_, name, info_[i]);
  }
  eyas::Options Options(size_t i, const char* name = "options") const { return {op_, name, info_[i]}; }
  // An array of objects; empty when absent.
  std::vector<eyas::Options> List(size_t i, const char* name) const {
    return convert::ToList(op_, name, info_[i]);
  }

 private:
  const char* op_;
  const Napi::CallbackInfo& info_;
};

}  // namespace eyas
