#include "core/dtype.h"

#include <array>

namespace eyas {

namespace {

struct Entry {
  const char* name;
  size_t size;
};

constexpr std::array<Entry, 5> kDTypes = {{
    {"float32", 4},
    {"bfloat16", 2},
    {"int64", 8},
    {"int32", 4},
    {"bool", 1},
}};

}  // namespace

size_t DTypeSize(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].size; }

const char* DTypeName(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

std::optional<DType> ParseDType(const std::string& name) {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (name == kDTypes[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace eyas
