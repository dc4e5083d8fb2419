#include "cpu/gemm_panels.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/parallel.h"

namespace eyas::cpu {

namespace {

// Words (float32 values or pairs of bfloat16) of a vector, and of the side of a block that is transposed.
constexpr int64_t kSide = 16;
// Bytes of a row of a panel, and of a vector.
constexpr int64_t kPanelBytes = kPanelColumns * 4;
constexpr int64_t kSideBytes = kSide * 4;
// Bytes ahead of what is read that are asked for.
constexpr int64_t kAhead = 512;

int64_t RoundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }
int64_t SizeOf(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }
// Words of k values.
int64_t WordsOf(int64_t k, DType dtype) { return dtype == DType::kFloat32 ? k : (k + 1) / 2; }

// ---- kernels; `stride` is in bytes

// Word r of row c of out = word c of rows[r], 16 by 16.
void TransposePlain(const char* const* rows, char* out, int64_t stride) {
  for (int64_t r = 0; r < kSide; ++r) {
    for (int64_t c = 0; c < kSide; ++c) std::memcpy(out + c * stride + r * 4, rows[r] + c * 4, 4);
  }
}

// The same of 16 columns of 32 rows of bfloat16: word r is of rows 2r and 2r + 1.
void TransposePairsPlain(const char* const* rows, char* out, int64_t stride) {
  for (int64_t r = 0; r < 2 * kSide; ++r) {
    for (int64_t c = 0; c < kSide; ++c) std::memcpy(out + c * stride + r * 2, rows[r] + c * 2, 2);
  }
}

// 64 columns of two rows of bfloat16, interleaved.
void PairPlain(const char* low, const char* high, char* out) {
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    std::memcpy(out + c * 4, low + c * 2, 2);
    std::memcpy(out + c * 4 + 2, high + c * 2, 2);
  }
}

#if defined(__x86_64__)

#define EYAS_AVX512 __attribute__((target("avx512f,avx512bw")))

// GCC 12 takes the undefined values inside its own intrinsics for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"

EYAS_AVX512 inline void TransposeVectors(__m512i* a, char* out, int64_t stride) {
  __m512i b[kSide];
#pragma GCC unroll 8
  for (int i = 0; i < kSide; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kSide; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < kSide; i += 8) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      b[i + j] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0x88);
      b[i + j + 4] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0xdd);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm512_storeu_si512(out + i * stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_storeu_si512(out + (i + 8) * stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
  }
}

EYAS_AVX512 void TransposeWide(const char* const* rows, char* out, int64_t stride) {
  __m512i a[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) a[i] = _mm512_loadu_si512(rows[i]);
  TransposeVectors(a, out, stride);
}

EYAS_AVX512 void TransposePairsWide(const char* const* rows, char* out, int64_t stride) {
  __m512i a[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    const auto widened = [&](int row) EYAS_AVX512 {
      return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[row])));
    };
    a[i] = _mm512_or_si512(widened(2 * i), _mm512_slli_epi32(widened(2 * i + 1), 16));
  }
  TransposeVectors(a, out, stride);
}

EYAS_AVX512 void PairWide(const char* low, const char* high, char* out) {
#pragma GCC unroll 4
  for (int c = 0; c < kPanelColumns; c += kSide) {
    const auto widened = [&](const char* row) EYAS_AVX512 {
      return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + c * 2)));
    };
    _mm512_storeu_si512(out + c * 4, _mm512_or_si512(widened(low), _mm512_slli_epi32(widened(high), 16)));
  }
}

#pragma GCC diagnostic pop

#endif

struct Kernels {
  decltype(&TransposePlain) transpose = TransposePlain;
  decltype(&TransposePairsPlain) transpose_pairs = TransposePairsPlain;
  decltype(&PairPlain) pair = PairPlain;
};

const Kernels& GetKernels() {
  static const Kernels kernels = [] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
      return Kernels{TransposeWide, TransposePairsWide, PairWide};
    }
#endif
    return Kernels{};
  }();
  return kernels;
}

// `count` bytes of row `at` from byte `first` on, zero past the matrix; in place, or in `buffer`.
const char* Bytes(const MatrixRows& x, int64_t at, int64_t first, int64_t count, char* buffer) {
  const int64_t left = at < x.count() ? x.width * SizeOf(x.dtype) - first : 0;
  if (left >= count) {
    __builtin_prefetch(x.rows[at] + first + kAhead);
    return x.rows[at] + first;
  }
  std::memset(buffer, 0, count);
  if (left > 0) std::memcpy(buffer, x.rows[at] + first, left);
  return buffer;
}

}  // namespace

void MatrixRows::Append(const Tensor& x) {
  width = x.dim(1);
  dtype = x.dtype();
  const auto* data = static_cast<const char*>(x.raw());
  const int64_t stride = x.stride(0) * SizeOf(dtype);
  for (int64_t i = 0; i < x.dim(0); ++i) rows.push_back(data + i * stride);
}

MatrixRows MatrixRows::Of(const Tensor& x) {
  MatrixRows rows;
  rows.Append(x);
  return rows;
}

int64_t PanelDepth(int64_t k, DType dtype) { return RoundUp(k, kSideBytes / SizeOf(dtype)); }

Dims PanelShape(int64_t k, int64_t n, DType dtype) {
  return {(n + kPanelColumns - 1) / kPanelColumns, PanelDepth(k, dtype), kPanelColumns};
}

Tensor PackPanels(const Tensor& b) {
  return b.stride(1) == 1 ? PackPanels(MatrixRows::Of(b))
                          : PackPanelsTransposed(MatrixRows::Of(b.Transpose(0, 1)));
}

Tensor PackPanels(const MatrixRows& b) {
  const Tensor panels(PanelShape(b.count(), b.width, b.dtype), b.dtype);
  const int64_t depth = WordsOf(panels.dim(1), b.dtype), row_bytes = kPanelColumns * SizeOf(b.dtype);
  const bool pairs = b.dtype != DType::kFloat32;
  const Kernels& kernels = GetKernels();
  ParallelFor(panels.dim(0), depth * kPanelColumns, [&](int64_t begin, int64_t end) {
    char buffers[2][kPanelBytes];
    // Rows outermost within a part: they are read from one end to the other.
    for (int64_t row = 0; row < depth; ++row) {
      for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t first = panel * row_bytes;
        char* out = static_cast<char*>(panels.raw()) + (panel * depth + row) * kPanelBytes;
        if (pairs) {
          kernels.pair(Bytes(b, 2 * row, first, row_bytes, buffers[0]),
                       Bytes(b, 2 * row + 1, first, row_bytes, buffers[1]), out);
        } else {
          std::memcpy(out, Bytes(b, row, first, kPanelBytes, buffers[0]), kPanelBytes);
        }
      }
    }
  });
  return panels;
}

Tensor PackPanelsTransposed(const MatrixRows& transposed) {
  const Tensor panels(PanelShape(transposed.width, transposed.count(), transposed.dtype), transposed.dtype);
  const int64_t depth = WordsOf(panels.dim(1), transposed.dtype);
  const Kernels& kernels = GetKernels();
  ParallelFor(panels.dim(0), depth * kPanelColumns, [&](int64_t begin, int64_t end) {
    char buffers[kSide][kSideBytes];
    const char* block[kSide];
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t c = 0; c < kPanelColumns; c += kSide) {
        for (int64_t word = 0; word < depth; word += kSide) {
          for (int64_t i = 0; i < kSide; ++i) {
            block[i] = Bytes(transposed, panel * kPanelColumns + c + i, word * 4, kSideBytes, buffers[i]);
          }
          char* out = static_cast<char*>(panels.raw()) + (panel * depth + word) * kPanelBytes + c * 4;
          kernels.transpose(block, out, kPanelBytes);
        }
      }
    }
  });
  return panels;
}

Tensor TransposeRows(const MatrixRows& x) {
  const Tensor out({x.width, x.count()}, x.dtype);
  const int64_t size = SizeOf(x.dtype), out_bytes = x.count() * size, rows = kSideBytes / size;
  const Kernels& kernels = GetKernels();
  const auto transpose = size == 4 ? kernels.transpose : kernels.transpose_pairs;
  const int64_t strips = (x.width + kSide - 1) / kSide;
  ParallelFor(strips, x.count() * kSide, [&](int64_t begin, int64_t end) {
    char buffers[2 * kSide][kSideBytes], turned[kSide][kSideBytes];
    const char* block[2 * kSide];
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t columns = std::min(kSide, x.width - strip * kSide);
      char* to = static_cast<char*>(out.raw()) + strip * kSide * out_bytes;
      for (int64_t row = 0; row < x.count(); row += rows, to += kSideBytes) {
        for (int64_t i = 0; i < rows; ++i) {
          block[i] = Bytes(x, row + i, strip * kSide * size, kSide * size, buffers[i]);
        }
        const int64_t count = std::min(rows, x.count() - row) * size;
        if (columns == kSide && count == kSideBytes) {
          transpose(block, to, out_bytes);
          continue;
        }
        transpose(block, turned[0], kSideBytes);
        for (int64_t c = 0; c < columns; ++c) std::memcpy(to + c * out_bytes, turned[c], count);
      }
    }
  });
  return out;
}

}  // namespace eyas::cpu
