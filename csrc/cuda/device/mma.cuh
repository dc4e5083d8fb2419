#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/device/bf16.cuh"
#include "cuda/device/reduce.cuh"

// Tensor cores by mma.m16n8k16 with bfloat16 factors and float32 sums (sm_80 and later), and what feeds them.
// In a fragment, g = lane / 4 and t = lane % 4: sums c0, c1 are of row g and columns 2t, 2t + 1, c2, c3 of
// row g + 8.

namespace eyas::cuda {

// Of the left operand, 16 rows by 16 of the depth.
struct FragmentA {
  uint32_t x[4];
};
// Of the right operand, 16 of the depth by 8 columns.
struct FragmentB {
  uint32_t x[2];
};

#ifdef EYAS_EMULATED

namespace detail {

// Element `which` (0 or 1) of a pair of bfloat16.
inline float HalfOf(uint32_t word, int which) {
  return FromBf16(static_cast<uint16_t>(word >> (16 * which)));
}

struct MmaOperands {
  FragmentA a;
  FragmentB b;
};

// Four 8 × 8 matrices whose rows the lanes name, 8 lanes a matrix; a lane gets the pair of its row, or of its
// column.
inline void LoadMatrices(const void* row, bool transposed, uint32_t* out) {
  const int lane = emulation::current->lane, g = lane / 4, t = lane % 4;
  // The rows must be read before anybody may write over them: each lane hands over its whole row.
  struct Row {
    uint16_t x[8];
  } own;
  std::memcpy(&own, row, sizeof(own));
  const char* all = emulation::Exchange(kAllLanes, &own, sizeof(own));
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto element = [&](int r, int c) {
      return static_cast<uint32_t>(emulation::FromLane<Row>(all, matrix * 8 + r).x[c]);
    };
    out[matrix] = transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                             : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
  }
}

}  // namespace detail

inline void Mma(float* c, const FragmentA& a, const FragmentB& b) {
  const int lane = emulation::current->lane, g = lane / 4, t = lane % 4;
  const detail::MmaOperands own{a, b};
  const char* all = emulation::Exchange(kAllLanes, &own, sizeof(own));
  for (int i = 0; i < 4; ++i) {
    const int row = g + (i >= 2 ? 8 : 0), column = 2 * t + i % 2;
    float sum = c[i];
    for (int k = 0; k < 16; ++k) {
      const auto left = emulation::FromLane<detail::MmaOperands>(all, row % 8 * 4 + k % 8 / 2);
      const auto right = emulation::FromLane<detail::MmaOperands>(all, column * 4 + k % 8 / 2);
      const uint32_t a_word = left.a.x[(row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0)];
      sum += detail::HalfOf(a_word, k % 2) * detail::HalfOf(right.b.x[k >= 8 ? 1 : 0], k % 2);
    }
    c[i] = sum;
  }
}

inline void LoadMatrix4(uint32_t* out, const uint16_t* row) { detail::LoadMatrices(row, false, out); }
inline void LoadMatrix4Transposed(uint32_t* out, const uint16_t* row) {
  detail::LoadMatrices(row, true, out);
}

// 16 bytes to shared memory, zeros where `there` is false; they arrive at a wait.
inline void CopyAsync16(void* shared, const void* global, bool there) {
  emulation::DeferCopy(shared, global, there ? 16 : 0, there ? 0 : 16);
}
inline void CommitCopies() { emulation::CommitCopies(); }
template <int kPending>
void WaitCopies() {
  emulation::WaitCopies(kPending);
}

#else

__device__ __forceinline__ void Mma(float* c, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void LoadMatrix4(uint32_t* out, const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t* out, const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// 16 bytes to shared memory, zeros where `there` is false; they arrive at a wait.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, bool there) {
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)), "l"(global),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `kPending` of the latest groups are on their way.
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

// ---- fragments of matrices in shared memory, row-major with rows `pitch` elements apart. Rows start on 16
// bytes; where a pitch is an odd number of 16 bytes, no two rows of a load meet in a bank.

// Rows `row` to `row` + 15, depth `depth` to `depth` + 15 of x [rows, depth].
__device__ __forceinline__ FragmentA LoadA(const uint16_t* x, int pitch, int row, int depth) {
  const int lane = threadIdx.x % kWarpLanes;
  FragmentA out;
  LoadMatrix4(out.x, x + (row + lane % 16) * pitch + depth + lane / 16 * 8);
  return out;
}

// The same of xᵀ, x [depth, rows].
__device__ __forceinline__ FragmentA LoadATransposed(const uint16_t* x, int pitch, int row, int depth) {
  const int lane = threadIdx.x % kWarpLanes;
  FragmentA out;
  LoadMatrix4Transposed(out.x, x + (depth + lane % 8 + lane / 16 * 8) * pitch + row + lane / 8 % 2 * 8);
  return out;
}

// Columns `column` to `column` + 15 of xᵀ, x [columns, depth]: two fragments.
__device__ __forceinline__ void LoadB(const uint16_t* x, int pitch, int column, int depth, FragmentB* out) {
  const int lane = threadIdx.x % kWarpLanes;
  uint32_t words[4];
  LoadMatrix4(words, x + (column + lane % 8 + lane / 16 * 8) * pitch + depth + lane / 8 % 2 * 8);
  out[0] = {{words[0], words[1]}};
  out[1] = {{words[2], words[3]}};
}

// The same of x [depth, columns].
__device__ __forceinline__ void LoadBTransposed(const uint16_t* x, int pitch, int column, int depth,
                                                FragmentB* out) {
  const int lane = threadIdx.x % kWarpLanes;
  uint32_t words[4];
  LoadMatrix4Transposed(words, x + (depth + lane % 16) * pitch + column + lane / 16 * 8);
  out[0] = {{words[0], words[1]}};
  out[1] = {{words[2], words[3]}};
}

// Sums of 16 rows by 16 columns, as two blocks of 8, as the left operand of a product over the columns.
__device__ __forceinline__ FragmentA AsLeft(const float* block, const float* next) {
  return {{PackBf16(block[0], block[1]), PackBf16(block[2], block[3]), PackBf16(next[0], next[1]),
           PackBf16(next[2], next[3])}};
}

}  // namespace eyas::cuda
