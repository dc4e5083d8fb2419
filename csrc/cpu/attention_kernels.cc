#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/attention_blocks.h"
#include "cpu/simd.h"

// The kernels for each instruction set: the same text, compiled with other vectors. The pragmas, unlike flags
// for a file, leave inline functions of the headers above for the baseline.

namespace eyas::cpu {

namespace {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,prefer-vector-width=512")
namespace avx512_bf16 {
#define EYAS_LANES 16
#define EYAS_BF16
#include "cpu/attention_kernels.inc"
#undef EYAS_BF16
#undef EYAS_LANES
}  // namespace avx512_bf16
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
namespace avx512 {
#define EYAS_LANES 16
#include "cpu/attention_kernels.inc"
#undef EYAS_LANES
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define EYAS_LANES 8
#include "cpu/attention_kernels.inc"
#undef EYAS_LANES
}  // namespace avx2
#pragma GCC pop_options

namespace generic {
#define EYAS_LANES 4
#include "cpu/attention_kernels.inc"
#undef EYAS_LANES
}  // namespace generic

}  // namespace

const AttentionKernels& GetAttentionKernels() {
  static const AttentionKernels kernels = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return __builtin_cpu_supports("avx512bf16") ? avx512_bf16::Kernels() : avx512::Kernels();
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::Kernels()
                                                                           : generic::Kernels();
  }();
  return kernels;
}

}  // namespace eyas::cpu
