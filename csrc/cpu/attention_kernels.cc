#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/attention_blocks.h"
#include "cpu/simd.h"

// The kernels for each instruction set: the same text, compiled with other vectors. The pragmas, unlike flags
// for a file, leave inline functions of the headers above for the baseline.

namespace eyas::cpu {

namespace {

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
  static const AttentionKernels kAvx512 = {avx512::ForwardBlock, avx512::BackwardBlock, avx512::Decode};
  static const AttentionKernels kAvx2 = {avx2::ForwardBlock, avx2::BackwardBlock, avx2::Decode};
  static const AttentionKernels kGeneric = {generic::ForwardBlock, generic::BackwardBlock, generic::Decode};
  static const AttentionKernels& chosen =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
          ? kAvx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? kAvx2
                                                                        : kGeneric;
  return chosen;
}

}  // namespace eyas::cpu
