#include "cpu/copy.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/parallel.h"
#include "cpu/simd.h"
#include "cpu/vec_math.h"

namespace eyas::cpu {

namespace {

EYAS_SIMD_CLONES void RoundRange(const float* source, bfloat16* destination, int64_t n) {
  for (int64_t i = 0; i < n; ++i) destination[i] = ToBFloat16(source[i]);
}

EYAS_SIMD_CLONES void WidenRange(const bfloat16* source, float* destination, int64_t n) {
  for (int64_t i = 0; i < n; ++i) destination[i] = ToFloat(source[i]);
}

EYAS_SIMD_CLONES void WidenHalfRange(const uint16_t* source, float* destination, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const int32_t bits = source[i];
    const int32_t magnitude = bits & 0x7fff;
    // Exponent rebased from 15 to 127; infinities and NaN keep theirs full; a subnormal is a multiple of
    // 2^-24.
    const int32_t rebased = (magnitude << 13) + (112 << 23);
    const int32_t special = (magnitude << 13) | 0x7f800000;
    const int32_t subnormal = FloatToBits(static_cast<float>(magnitude) * 0x1p-24f);
    const int32_t value = magnitude >= 0x7c00 ? special : magnitude < 0x0400 ? subnormal : rebased;
    destination[i] = BitsToFloat(value | static_cast<int32_t>(static_cast<uint32_t>(bits & 0x8000) << 16));
  }
}

template <typename D, typename S>
D Convert(S value) {
  if constexpr (std::is_same_v<S, D>) {
    return value;
  } else if constexpr (std::is_same_v<S, bfloat16>) {
    return Convert<D>(ToFloat(value));
  } else if constexpr (std::is_same_v<D, bfloat16>) {
    return ToBFloat16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<D, uint8_t>) {
    return value != 0;
  } else if constexpr (std::is_floating_point_v<S> && std::is_integral_v<D>) {
    if (std::isnan(value)) return 0;
    // The largest D rounds up to a power of two that is itself out of range.
    const S limit = static_cast<S>(std::numeric_limits<D>::max());
    if (value >= limit) return std::numeric_limits<D>::max();
    if (value <= -limit) return std::numeric_limits<D>::min();
    return static_cast<D>(value);
  } else {
    return static_cast<D>(value);
  }
}

template <typename S, typename D>
void CopyRow(const S* source, int64_t source_step, D* destination, int64_t destination_step, int64_t n) {
  if (source_step == 1 && destination_step == 1) {
    if constexpr (std::is_same_v<S, D>) {
      std::memcpy(destination, source, n * sizeof(S));
      return;
    } else if constexpr (std::is_same_v<S, float> && std::is_same_v<D, bfloat16>) {
      RoundRange(source, destination, n);
      return;
    } else if constexpr (std::is_same_v<S, bfloat16> && std::is_same_v<D, float>) {
      WidenRange(source, destination, n);
      return;
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    destination[i * destination_step] = Convert<D>(source[i * source_step]);
  }
}

// Shape and strides of a copy, with dimensions that both sides walk in one step merged.
struct Walk {
  Dims shape;
  Dims source;
  Dims destination;
};

Walk Coalesce(const Tensor& source, const Tensor& destination) {
  Walk walk;
  for (int d = 0; d < source.rank(); ++d) {
    const int64_t n = source.dim(d);
    if (n == 1) continue;
    const int last = walk.shape.rank() - 1;
    if (last >= 0 && walk.source[last] == n * source.stride(d) &&
        walk.destination[last] == n * destination.stride(d)) {
      walk.shape[last] *= n;
      walk.source[last] = source.stride(d);
      walk.destination[last] = destination.stride(d);
    } else {
      walk.shape.push_back(n);
      walk.source.push_back(source.stride(d));
      walk.destination.push_back(destination.stride(d));
    }
  }
  if (walk.shape.rank() == 0) return {{1}, {1}, {1}};
  return walk;
}

template <typename S, typename D>
void CopyAs(const Tensor& source, const Tensor& destination) {
  const S* from = source.data<S>();
  D* to = destination.data<D>();
  const Walk walk = Coalesce(source, destination);
  const int inner = walk.shape.rank() - 1;
  const int64_t row = walk.shape[inner];
  if (inner == 0) {
    ParallelFor(row, 1, [&](int64_t begin, int64_t end) {
      CopyRow(from + begin * walk.source[0], walk.source[0], to + begin * walk.destination[0],
              walk.destination[0], end - begin);
    });
    return;
  }
  ParallelFor(source.size() / row, row, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t rest = i;
      int64_t from_offset = 0;
      int64_t to_offset = 0;
      for (int d = inner - 1; d >= 0; --d) {
        const int64_t index = rest % walk.shape[d];
        rest /= walk.shape[d];
        from_offset += index * walk.source[d];
        to_offset += index * walk.destination[d];
      }
      CopyRow(from + from_offset, walk.source[inner], to + to_offset, walk.destination[inner], row);
    }
  });
}

template <typename S>
void CopyFrom(const Tensor& source, const Tensor& destination) {
  switch (destination.dtype()) {
    case DType::kFloat32:
      return CopyAs<S, float>(source, destination);
    case DType::kBFloat16:
      return CopyAs<S, bfloat16>(source, destination);
    case DType::kInt64:
      return CopyAs<S, int64_t>(source, destination);
    case DType::kInt32:
      return CopyAs<S, int32_t>(source, destination);
    case DType::kBool:
      return CopyAs<S, uint8_t>(source, destination);
  }
}

}  // namespace

void Copy(const Tensor& source, const Tensor& destination) {
  if (source.size() == 0) return;
  switch (source.dtype()) {
    case DType::kFloat32:
      return CopyFrom<float>(source, destination);
    case DType::kBFloat16:
      return CopyFrom<bfloat16>(source, destination);
    case DType::kInt64:
      return CopyFrom<int64_t>(source, destination);
    case DType::kInt32:
      return CopyFrom<int32_t>(source, destination);
    case DType::kBool:
      return CopyFrom<uint8_t>(source, destination);
  }
}

void Fill(const Tensor& tensor, double value) {
  if (tensor.size() == 0) return;
  if (value == 0 && !std::signbit(value) && tensor.contiguous()) {
    std::memset(tensor.raw(), 0, tensor.bytes());
    return;
  }
  // One element with stride 0 in every dimension.
  const Tensor one({1}, tensor.dtype());
  switch (tensor.dtype()) {
    case DType::kFloat32:
      *one.data<float>() = static_cast<float>(value);
      break;
    case DType::kBFloat16:
      *one.data<bfloat16>() = ToBFloat16(static_cast<float>(value));
      break;
    case DType::kInt64:
      *one.data<int64_t>() = Convert<int64_t>(value);
      break;
    case DType::kInt32:
      *one.data<int32_t>() = Convert<int32_t>(value);
      break;
    case DType::kBool:
      *one.data<uint8_t>() = value != 0;
      break;
  }
  Copy(one.Expand(tensor.shape()), tensor);
}

void FloatToBFloat16(const float* source, bfloat16* destination, int64_t n) {
  ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    RoundRange(source + begin, destination + begin, end - begin);
  });
}

void BFloat16ToFloat(const bfloat16* source, float* destination, int64_t n) {
  ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    WidenRange(source + begin, destination + begin, end - begin);
  });
}

void HalfToFloat(const uint16_t* source, float* destination, int64_t n) {
  ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    WidenHalfRange(source + begin, destination + begin, end - begin);
  });
}

}  // namespace eyas::cpu
