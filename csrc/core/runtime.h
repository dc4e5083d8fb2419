#pragma once

#include <string>

namespace eyas {

struct RuntimeInfo {
  std::string onednn;  // version of the library that was loaded
  std::string isa;     // avx512_bf16, avx512, avx2 or generic
  bool bfloat16_gemm;  // whether bfloat16 products run on bfloat16 instructions
};

RuntimeInfo GetRuntimeInfo();

// Whether oneDNN multiplies bfloat16 natively on this CPU (and environment: ONEDNN_MAX_CPU_ISA).
bool HasBFloat16Gemm();

}  // namespace eyas
