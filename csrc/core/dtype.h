#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace eyas {

// Element types of a tensor. The order is that of the table in dtype.cc.
enum class DType : uint8_t { kFloat32, kBFloat16, kInt64, kInt32, kBool };

size_t DTypeSize(DType dtype);
const char* DTypeName(DType dtype);
std::optional<DType> ParseDType(const std::string& name);

// Upper half of a float32.
struct bfloat16 {
  uint16_t bits;
};

inline float ToFloat(float x) { return x; }

inline float ToFloat(bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
inline bfloat16 ToBFloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(nan ? quiet : rounded)};
}

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::kBFloat16;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kInt64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kInt32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kBool;
};

}  // namespace eyas
