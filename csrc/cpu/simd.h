#pragma once

// Compiles a function for AVX-512, AVX2 and plain x86-64 and picks one when the addon is loaded. Put it on
// plain (not template) functions that loop over a part of the data; what they call must be EYAS_INLINE to be
// compiled for the same instruction set, and an OpenMP region must be outside. Compile with
// -DEYAS_SIMD_CLONES= (and -march, as you like) to test one instruction set alone.
#if defined(EYAS_SIMD_CLONES)
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EYAS_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EYAS_SIMD_CLONES
#endif

#define EYAS_INLINE __attribute__((always_inline)) inline
