#include "binding/args.h"

#include <cmath>
#include <iterator>

#include "core/check.h"

namespace eyas {

namespace {

constexpr double kLargestInteger = 9007199254740992.0;  // 2^53

[[noreturn]] void Unexpected(const char* op, const std::string& expected, const char* name,
                             const Napi::Value& received) {
  Fail(op, expected + " for " + name, Describe(received));
}

template <typename T>
struct ArrayKind;
template <>
struct ArrayKind<uint8_t> {
  static constexpr napi_typedarray_type type = napi_uint8_array;
  static constexpr const char* name = "a Uint8Array";
};
template <>
struct ArrayKind<uint16_t> {
  static constexpr napi_typedarray_type type = napi_uint16_array;
  static constexpr const char* name = "a Uint16Array";
};
template <>
struct ArrayKind<int32_t> {
  static constexpr napi_typedarray_type type = napi_int32_array;
  static constexpr const char* name = "an Int32Array";
};
template <>
struct ArrayKind<int64_t> {
  static constexpr napi_typedarray_type type = napi_bigint64_array;
  static constexpr const char* name = "a BigInt64Array";
};
template <>
struct ArrayKind<float> {
  static constexpr napi_typedarray_type type = napi_float32_array;
  static constexpr const char* name = "a Float32Array";
};
template <>
struct ArrayKind<double> {
  static constexpr napi_typedarray_type type = napi_float64_array;
  static constexpr const char* name = "a Float64Array";
};

// Calls visit(element, "name[i]") for each entry of a JavaScript array.
template <typename Visit>
void EachEntry(const char* op, const char* name, const Napi::Value& value, const char* expected,
               const Visit& visit) {
  if (!value.IsArray()) Unexpected(op, expected, name, value);
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    visit(Napi::Value(array.Get(i)), std::string(name) + "[" + std::to_string(i) + "]");
  }
}

}  // namespace

std::string Describe(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value() ? "true" : "false";
  if (value.IsNumber()) return value.ToString().Utf8Value();
  if (value.IsBigInt()) return value.ToString().Utf8Value() + "n";
  if (value.IsString()) return "'" + value.As<Napi::String>().Utf8Value() + "'";
  if (value.IsSymbol()) return "a symbol";
  if (value.IsFunction()) return "a function";
  if (const TensorWrap* wrap = TensorWrap::From(value)) return "a tensor " + wrap->Describe();
  if (value.IsArray()) return "an array of " + std::to_string(value.As<Napi::Array>().Length());
  if (value.IsTypedArray()) {
    const Napi::TypedArray array = value.As<Napi::TypedArray>();
    static const char* const kNames[] = {"Int8Array",    "Uint8Array",    "Uint8ClampedArray", "Int16Array",
                                         "Uint16Array",  "Int32Array",    "Uint32Array",       "Float32Array",
                                         "Float64Array", "BigInt64Array", "BigUint64Array"};
    const size_t type = static_cast<size_t>(array.TypedArrayType());
    const char* kind = type < std::size(kNames) ? kNames[type] : "typed array";
    return std::string(kind) + " of " + std::to_string(array.ElementLength());
  }
  return "an object";
}

namespace convert {

Tensor ToTensor(const char* op, const char* name, const Napi::Value& value) {
  const TensorWrap* wrap = TensorWrap::From(value);
  if (wrap == nullptr) Unexpected(op, "a tensor", name, value);
  if (wrap->disposed()) {
    Fail(op, std::string("a live tensor for ") + name, "a disposed tensor " + wrap->Describe());
  }
  return wrap->tensor();
}

Tensor ToOptionalTensor(const char* op, const char* name, const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return Tensor();
  return ToTensor(op, name, value);
}

std::vector<Tensor> ToTensors(const char* op, const char* name, const Napi::Value& value) {
  std::vector<Tensor> tensors;
  EachEntry(op, name, value, "an array of tensors", [&](const Napi::Value& entry, const std::string& label) {
    tensors.push_back(ToTensor(op, label.c_str(), entry));
  });
  return tensors;
}

std::vector<Tensor> ToOptionalTensors(const char* op, const char* name, const Napi::Value& value) {
  std::vector<Tensor> tensors;
  EachEntry(op, name, value, "an array of tensors", [&](const Napi::Value& entry, const std::string& label) {
    tensors.push_back(ToOptionalTensor(op, label.c_str(), entry));
  });
  return tensors;
}

Dims ToDims(const char* op, const char* name, const Napi::Value& value) {
  Dims dims;
  EachEntry(op, name, value, "an array of sizes", [&](const Napi::Value& entry, const std::string& label) {
    dims.push_back(ToInt(op, label.c_str(), entry));
  });
  return dims;
}

double ToNumber(const char* op, const char* name, const Napi::Value& value) {
  if (!value.IsNumber()) Unexpected(op, "a number", name, value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t ToInt(const char* op, const char* name, const Napi::Value& value) {
  if (!value.IsNumber()) Unexpected(op, "an integer", name, value);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(std::fabs(number) <= kLargestInteger) || number != std::trunc(number)) {
    Unexpected(op, "an integer", name, value);
  }
  return static_cast<int64_t>(number);
}

bool ToBool(const char* op, const char* name, const Napi::Value& value) {
  if (!value.IsBoolean()) Unexpected(op, "true or false", name, value);
  return value.As<Napi::Boolean>().Value();
}

std::string ToText(const char* op, const char* name, const Napi::Value& value) {
  if (!value.IsString()) Unexpected(op, "a string", name, value);
  return value.As<Napi::String>().Utf8Value();
}

DType ToDType(const char* op, const char* name, const Napi::Value& value) {
  const std::optional<DType> dtype =
      value.IsString() ? ParseDType(value.As<Napi::String>().Utf8Value()) : std::nullopt;
  if (!dtype) Unexpected(op, "float32, bfloat16, int64, int32 or bool", name, value);
  return *dtype;
}

uint64_t ToUint64(const char* op, const char* name, const Napi::Value& value) {
  if (!value.IsBigInt()) Unexpected(op, "a bigint", name, value);
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) Unexpected(op, "a bigint from 0 to 2^64 - 1", name, value);
  return number;
}

std::vector<double> ToNumbers(const char* op, const char* name, const Napi::Value& value) {
  std::vector<double> numbers;
  EachEntry(op, name, value, "an array of numbers", [&](const Napi::Value& entry, const std::string& label) {
    numbers.push_back(ToNumber(op, label.c_str(), entry));
  });
  return numbers;
}

std::vector<int64_t> ToInts(const char* op, const char* name, const Napi::Value& value) {
  std::vector<int64_t> numbers;
  EachEntry(op, name, value, "an array of integers", [&](const Napi::Value& entry, const std::string& label) {
    numbers.push_back(ToInt(op, label.c_str(), entry));
  });
  return numbers;
}

template <typename T>
Span<T> ToSpan(const char* op, const char* name, const Napi::Value& value) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  // Not Napi::TypedArray: this also takes arrays over a SharedArrayBuffer.
  const bool is_array = value.IsTypedArray() && napi_get_typedarray_info(value.Env(), value, &type, &length,
                                                                         &data, nullptr, nullptr) == napi_ok;
  if (!is_array || type != ArrayKind<T>::type) Unexpected(op, ArrayKind<T>::name, name, value);
  return {static_cast<T*>(data), length};
}

template Span<uint8_t> ToSpan(const char*, const char*, const Napi::Value&);
template Span<uint16_t> ToSpan(const char*, const char*, const Napi::Value&);
template Span<int32_t> ToSpan(const char*, const char*, const Napi::Value&);
template Span<int64_t> ToSpan(const char*, const char*, const Napi::Value&);
template Span<float> ToSpan(const char*, const char*, const Napi::Value&);
template Span<double> ToSpan(const char*, const char*, const Napi::Value&);

}  // namespace convert

Options::Options(const char* op, const char* name, const Napi::Value& value) : op_(op), env_(value.Env()) {
  if (value.IsUndefined()) return;
  if (!value.IsObject() || value.IsFunction()) Unexpected(op, "an object", name, value);
  object_ = value.As<Napi::Object>();
}

Napi::Value Options::Get(const char* name) const {
  return object_.IsEmpty() ? env_.Undefined() : object_.Get(name);
}

bool Options::Has(const char* name) const { return !Get(name).IsUndefined(); }

Tensor Options::RequiredTensor(const char* name) const { return convert::ToTensor(op_, name, Get(name)); }

Tensor Options::OptionalTensor(const char* name) const {
  return convert::ToOptionalTensor(op_, name, Get(name));
}

double Options::Number(const char* name, std::optional<double> fallback) const {
  const Napi::Value value = Get(name);
  return fallback && value.IsUndefined() ? *fallback : convert::ToNumber(op_, name, value);
}

int64_t Options::Int(const char* name, std::optional<int64_t> fallback) const {
  const Napi::Value value = Get(name);
  return fallback && value.IsUndefined() ? *fallback : convert::ToInt(op_, name, value);
}

bool Options::Bool(const char* name, bool fallback) const {
  const Napi::Value value = Get(name);
  return value.IsUndefined() ? fallback : convert::ToBool(op_, name, value);
}

std::string Options::Text(const char* name) const { return convert::ToText(op_, name, Get(name)); }

DType Options::ElementType(const char* name) const { return convert::ToDType(op_, name, Get(name)); }

std::vector<double> Options::Numbers(const char* name) const {
  return convert::ToNumbers(op_, name, Get(name));
}

std::vector<int64_t> Options::Ints(const char* name) const { return convert::ToInts(op_, name, Get(name)); }

Options Options::Object(const char* name) const { return {op_, name, Get(name)}; }

std::vector<Options> Options::List(const char* name) const { return convert::ToList(op_, name, Get(name)); }

std::vector<Options> convert::ToList(const char* op, const char* name, const Napi::Value& value) {
  std::vector<Options> list;
  if (value.IsUndefined()) return list;
  if (!value.IsArray()) Unexpected(op, "an array of objects", name, value);
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) list.emplace_back(op, name, Napi::Value(array.Get(i)));
  return list;
}

}  // namespace eyas
