#include "media/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/parallel.h"
#include "cpu/simd.h"
#include "media/pixel_buffer.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace eyas {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Weights are fixed-point numbers with as many fractional bits as an int32 sum of 8-bit pixels leaves room
// for: 8 bits go to the pixel and 2 to the overshoot of negative lobes.
constexpr int kPrecisionBits = 32 - 8 - 2;

double Bilinear(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * kPi) / (x * kPi); }

double Lanczos(double x) { return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel KernelOf(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::kBilinear:
      return {Bilinear, 1.0};
    case ResizeFilter::kBicubic:
      return {Bicubic, 2.0};
    default:
      return {Lanczos, 3.0};
  }
}

// For every output coordinate: the first input coordinate, the number of them, and their weights.
struct Taps {
  std::vector<int64_t> first;
  std::vector<int64_t> count;
  int64_t stride = 0;
  std::vector<int32_t> weights;

  const int32_t* at(int64_t i) const { return weights.data() + i * stride; }
};

Taps MakeTaps(int64_t in_size, int64_t out_size, const Kernel& kernel) {
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double stretch = std::max(scale, 1.0);  // a kernel is widened to shrink, never narrowed to enlarge
  const double support = kernel.support * stretch;
  Taps taps;
  taps.stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.first.resize(out_size);
  taps.count.resize(out_size);
  taps.weights.assign(out_size * taps.stride, 0);
  std::vector<double> weights(taps.stride);
  for (int64_t i = 0; i < out_size; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min<int64_t>(in_size, static_cast<int64_t>(center + support + 0.5));
    double sum = 0.0;
    for (int64_t j = first; j < end; ++j) {
      const double weight = kernel.weight((static_cast<double>(j) - center + 0.5) * (1.0 / stretch));
      weights[j - first] = weight;
      sum += weight;
    }
    taps.first[i] = first;
    taps.count[i] = end - first;
    for (int64_t j = 0; j < end - first; ++j) {
      const double weight = (sum != 0.0 ? weights[j] / sum : weights[j]) * (1 << kPrecisionBits);
      taps.weights[i * taps.stride + j] = static_cast<int32_t>(weight + (weight < 0 ? -0.5 : 0.5));
    }
  }
  return taps;
}

EYAS_INLINE uint8_t ToByte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

// Rows that the horizontal pass takes at a time: their bytes are laid side by side, so that one vector holds
// the same sample of all of them.
constexpr int64_t kLanes = 16;

#if defined(__SSE2__)

// Turns 16 × 16 bytes: interleaving both halves of the rows four times over is a transposition.
void TransposeTile(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride) {
  __m128i a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * in_stride));
  }
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kLanes / 2; ++i) {
      b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + kLanes / 2]);
      b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + kLanes / 2]);
    }
    std::copy(b, b + kLanes, a);
  }
  for (int i = 0; i < kLanes; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * out_stride), a[i]);
  }
}

#else

void TransposeTile(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride) {
  for (int64_t i = 0; i < kLanes; ++i) {
    for (int64_t j = 0; j < kLanes; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}

#endif

// [rows, columns] bytes, rows `stride` apart, to [columns, kLanes]; lanes past the rows keep what they hold.
void ToLanes(const uint8_t* in, int64_t rows, int64_t columns, int64_t stride, uint8_t* out) {
  int64_t x = 0;
  if (rows == kLanes) {
    for (; x + kLanes <= columns; x += kLanes) TransposeTile(in + x, stride, out + x * kLanes, kLanes);
  }
  for (; x < columns; ++x) {
    for (int64_t y = 0; y < rows; ++y) out[x * kLanes + y] = in[y * stride + x];
  }
}

// The way back of ToLanes.
void FromLanes(const uint8_t* in, int64_t rows, int64_t columns, int64_t stride, uint8_t* out) {
  int64_t x = 0;
  if (rows == kLanes) {
    for (; x + kLanes <= columns; x += kLanes) TransposeTile(in + x * kLanes, kLanes, out + x, stride);
  }
  for (; x < columns; ++x) {
    for (int64_t y = 0; y < rows; ++y) out[y * stride + x] = in[x * kLanes + y];
  }
}

// Horizontal pass over rows in lanes: [in_width · channels, kLanes] to [out_width · channels, kLanes].
EYAS_SIMD_CLONES
void ResampleLanes(const uint8_t* in, uint8_t* out, const Taps& taps, int64_t out_width, int64_t channels) {
  for (int64_t x = 0; x < out_width; ++x) {
    const int32_t* weights = taps.at(x);
    const int64_t count = taps.count[x];
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t* samples = in + (taps.first[x] * channels + c) * kLanes;
      int32_t sums[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) sums[i] = kHalf;
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t i = 0; i < kLanes; ++i) sums[i] += samples[j * channels * kLanes + i] * weights[j];
      }
      for (int64_t i = 0; i < kLanes; ++i) out[(x * channels + c) * kLanes + i] = ToByte(sums[i]);
    }
  }
}

// The horizontal pass over a picture's rows, kLanes at a time.
class HorizontalPass {
 public:
  HorizontalPass(const Taps& taps, int64_t width, int64_t out_width, int64_t channels)
      : taps_(taps),
        out_width_(out_width),
        channels_(channels),
        in_bytes_(width * channels),
        out_bytes_(out_width * channels),
        in_lanes_(in_bytes_ * kLanes),
        out_lanes_(out_bytes_ * kLanes) {}

  // Resamples `count` rows.
  void Run(const uint8_t* in, int64_t count, uint8_t* out) {
    for (int64_t y = 0; y < count; y += kLanes) {
      const int64_t rows = std::min(kLanes, count - y);
      ToLanes(in + y * in_bytes_, rows, in_bytes_, in_bytes_, in_lanes_.data());
      ResampleLanes(in_lanes_.data(), out_lanes_.data(), taps_, out_width_, channels_);
      FromLanes(out_lanes_.data(), rows, out_bytes_, out_bytes_, out + y * out_bytes_);
    }
  }

 private:
  const Taps& taps_;
  int64_t out_width_;
  int64_t channels_;
  int64_t in_bytes_;
  int64_t out_bytes_;
  PixelBuffer in_lanes_;
  PixelBuffer out_lanes_;
};

// `kSize` bytes of an output row as the weighted sum of those of input rows `stride` bytes apart.
template <int64_t kSize>
EYAS_INLINE void ResampleBytes(const uint8_t* rows, uint8_t* out, const int32_t* weights, int64_t count,
                               int64_t stride) {
  int32_t sums[kSize];
  for (int64_t b = 0; b < kSize; ++b) sums[b] = kHalf;
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t b = 0; b < kSize; ++b) sums[b] += rows[j * stride + b] * weights[j];
  }
  for (int64_t b = 0; b < kSize; ++b) out[b] = ToByte(sums[b]);
}

// One output row as the weighted sum of input rows of `bytes` bytes.
EYAS_SIMD_CLONES
void ResampleColumns(const uint8_t* rows, uint8_t* out, const int32_t* weights, int64_t count,
                     int64_t bytes) {
  constexpr int64_t kBlock = 16;  // sums of one vector register
  int64_t b = 0;
  for (; b + kBlock <= bytes; b += kBlock) ResampleBytes<kBlock>(rows + b, out + b, weights, count, bytes);
  for (; b < bytes; ++b) ResampleBytes<1>(rows + b, out + b, weights, count, bytes);
}

}  // namespace

void Resize(const uint8_t* data, int64_t height, int64_t width, int64_t channels, uint8_t* out,
            int64_t out_height, int64_t out_width, ResizeFilter filter) {
  if (height <= 0 || width <= 0 || channels <= 0 || out_height <= 0 || out_width <= 0) {
    Fail("resize", "positive sizes",
         Dims({height, width, channels}).ToString() + " to " + Dims({out_height, out_width}).ToString());
  }
  const Kernel kernel = KernelOf(filter);
  const bool horizontal = out_width != width;
  const bool vertical = out_height != height;
  if (!horizontal && !vertical) {
    std::memcpy(out, data, height * width * channels);
    return;
  }

  const int64_t in_bytes = width * channels;
  const int64_t out_bytes = out_width * channels;
  const Taps across = horizontal ? MakeTaps(width, out_width, kernel) : Taps();
  if (!vertical) {
    ParallelFor(height, out_bytes * across.stride, [&](int64_t begin, int64_t end) {
      HorizontalPass(across, width, out_width, channels)
          .Run(data + begin * in_bytes, end - begin, out + begin * out_bytes);
    });
    return;
  }

  const Taps down = MakeTaps(height, out_height, kernel);
  const int64_t cost = out_bytes * (down.stride + across.stride);
  ParallelFor(out_height, cost, [&](int64_t begin, int64_t end) {
    const int64_t first = down.first[begin];
    const int64_t last = down.first[end - 1] + down.count[end - 1];
    if (!horizontal) {
      for (int64_t y = begin; y < end; ++y) {
        ResampleColumns(data + down.first[y] * in_bytes, out + y * out_bytes, down.at(y), down.count[y],
                        out_bytes);
      }
      return;
    }
    // Rows are resampled horizontally just before the first output row that reads them, while they are in the
    // cache.
    HorizontalPass pass(across, width, out_width, channels);
    const PixelBuffer between((last - first) * out_bytes);
    int64_t done = first;
    for (int64_t y = begin; y < end; ++y) {
      while (done < down.first[y] + down.count[y]) {
        const int64_t rows = std::min(kLanes, last - done);
        pass.Run(data + done * in_bytes, rows, between.data() + (done - first) * out_bytes);
        done += rows;
      }
      ResampleColumns(between.data() + (down.first[y] - first) * out_bytes, out + y * out_bytes, down.at(y),
                      down.count[y], out_bytes);
    }
  });
}

}  // namespace eyas
