#include "core/runtime.h"

#include <dnnl.hpp>

namespace eyas {

namespace {

std::string Isa() {
  if (HasBFloat16Gemm()) return "avx512_bf16";
  // The levels of EYAS_SIMD_CLONES.
  if (__builtin_cpu_supports("x86-64-v4")) return "avx512";
  if (__builtin_cpu_supports("x86-64-v3")) return "avx2";
  return "generic";
}

}  // namespace

bool HasBFloat16Gemm() {
  static const bool has = [] {
    switch (dnnl::get_effective_cpu_isa()) {
      case dnnl::cpu_isa::avx512_core_bf16:
      case dnnl::cpu_isa::avx512_core_amx:
        return true;
      default:
        return false;
    }
  }();
  return has;
}

RuntimeInfo GetRuntimeInfo() {
  const dnnl_version_t* version = dnnl_version();
  return {std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
              std::to_string(version->patch),
          Isa(), HasBFloat16Gemm()};
}

}  // namespace eyas
