#include "media/log_mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/parallel.h"
#include "cpu/simd.h"

namespace eyas {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int kWindow = 400;
constexpr int kHop = 160;
constexpr int kBins = kWindow / 2 + 1;
constexpr double kSampleRate = 16000.0;
constexpr double kFloor = 1e-10;

// One complex transform does two frames, as its real and imaginary part; kLanes transforms run side by side.
constexpr int kLanes = 8;
constexpr int kBlock = 2 * kLanes;
constexpr int kSpan = (kBlock - 1) * kHop + kWindow;

// torch.hann_window in its float32 steps: they are off by up to 2.4e-7, which quiet bands show.
std::array<float, kWindow> HannWindow() {
  std::array<float, kWindow> window;
  for (int i = 0; i < kWindow; ++i) {
    const float angle = static_cast<float>(i) * static_cast<float>(2.0 * kPi / kWindow);
    window[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * -0.5f + 0.5f;
  }
  return window;
}

// exp(-2πi k / 400)
struct Roots {
  double re[kWindow];
  double im[kWindow];

  Roots() {
    for (int k = 0; k < kWindow; ++k) {
      re[k] = std::cos(2.0 * kPi * k / kWindow);
      im[k] = -std::sin(2.0 * kPi * k / kWindow);
    }
  }
};

// Weights of the bins of one band; the others are 0.
struct Band {
  int first = 0;
  std::vector<double> weights;
};

// Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above.
double MelToHertz(double mel) {
  return mel < 15.0 ? 200.0 / 3.0 * mel : 1000.0 * std::exp(std::log(6.4) / 27.0 * (mel - 15.0));
}

// Triangles between neighbouring centres, of equal area, rounded to float32 as the reference keeps them.
std::vector<Band> MelBands(int64_t mels) {
  const double highest = 15.0 + std::log(kSampleRate / 2.0 / 1000.0) * 27.0 / std::log(6.4);
  const double step = highest / static_cast<double>(mels + 1);
  std::vector<Band> bands(mels);
  for (int64_t m = 0; m < mels; ++m) {
    const double low = MelToHertz(static_cast<double>(m) * step);
    const double centre = MelToHertz(static_cast<double>(m + 1) * step);
    const double high = MelToHertz(static_cast<double>(m + 2) * step);
    for (int bin = 0; bin < kBins; ++bin) {
      const double hertz = bin * (kSampleRate / kWindow);
      const double slope = std::min((hertz - low) / (centre - low), (high - hertz) / (high - centre));
      if (slope <= 0.0) continue;
      if (bands[m].weights.empty()) bands[m].first = bin;
      bands[m].weights.push_back(static_cast<float>(slope * (2.0 / (high - low))));
    }
  }
  return bands;
}

// A block of transforms, lanes innermost.
struct Signal {
  double re[kWindow][kLanes];
  double im[kWindow][kLanes];
};

struct Workspace {
  float span[kSpan];
  Signal a;
  Signal b;
  double power[kBins][kBlock];
};

// One pass of Stockham's transform of 400: groups of n values, `stride` of them interleaved, become R
// interleaved groups of n / R.
template <int R>
EYAS_INLINE void Pass(const Signal& in, Signal& out, int n, int stride, const Roots& roots) {
  const int m = n / R;
  for (int p = 0; p < m; ++p) {
    for (int j = 0; j < R; ++j) {
      // Root of the butterfly times the twiddle of its output.
      double w_re[R];
      double w_im[R];
      for (int k = 0; k < R; ++k) {
        const int turn = (j * k * (kWindow / R) + p * j * stride) % kWindow;
        w_re[k] = roots.re[turn];
        w_im[k] = roots.im[turn];
      }
      for (int q = 0; q < stride; ++q) {
        double sum_re[kLanes] = {};
        double sum_im[kLanes] = {};
        for (int k = 0; k < R; ++k) {
          const double* re = in.re[q + stride * (p + m * k)];
          const double* im = in.im[q + stride * (p + m * k)];
          for (int l = 0; l < kLanes; ++l) {
            sum_re[l] += re[l] * w_re[k] - im[l] * w_im[k];
            sum_im[l] += re[l] * w_im[k] + im[l] * w_re[k];
          }
        }
        double* to_re = out.re[q + stride * (R * p + j)];
        double* to_im = out.im[q + stride * (R * p + j)];
        for (int l = 0; l < kLanes; ++l) to_re[l] = sum_re[l];
        for (int l = 0; l < kLanes; ++l) to_im[l] = sum_im[l];
      }
    }
  }
}

// Power spectra of the kBlock frames in `span`: frame l in the real part of lane l, frame kLanes + l in the
// imaginary.
EYAS_SIMD_CLONES
void PowerSpectra(Workspace& work, const float* window, const Roots& roots) {
  for (int i = 0; i < kWindow; ++i) {
    const double weight = window[i];
    for (int l = 0; l < kLanes; ++l) {
      work.a.re[i][l] = work.span[l * kHop + i] * weight;
      work.a.im[i][l] = work.span[(kLanes + l) * kHop + i] * weight;
    }
  }
  Pass<4>(work.a, work.b, 400, 1, roots);
  Pass<4>(work.b, work.a, 100, 4, roots);
  Pass<5>(work.a, work.b, 25, 16, roots);
  Pass<5>(work.b, work.a, 5, 80, roots);
  for (int k = 0; k < kBins; ++k) {
    const int mirrored = (kWindow - k) % kWindow;
    for (int l = 0; l < kLanes; ++l) {
      const double re = work.a.re[k][l];
      const double im = work.a.im[k][l];
      const double mirrored_re = work.a.re[mirrored][l];
      const double mirrored_im = work.a.im[mirrored][l];
      const double sum_re = re + mirrored_re;
      const double difference_re = re - mirrored_re;
      const double sum_im = im + mirrored_im;
      const double difference_im = im - mirrored_im;
      work.power[k][l] = (sum_re * sum_re + difference_im * difference_im) * 0.25;
      work.power[k][kLanes + l] = (sum_im * sum_im + difference_re * difference_re) * 0.25;
    }
  }
}

EYAS_SIMD_CLONES
void BandPower(const double (*power)[kBlock], const Band& band, double* out) {
  double sums[kBlock] = {};
  for (size_t i = 0; i < band.weights.size(); ++i) {
    const double weight = band.weights[i];
    const double* bin = power[band.first + i];
    for (int t = 0; t < kBlock; ++t) sums[t] += weight * bin[t];
  }
  std::copy(sums, sums + kBlock, out);
}

// Sample i of the padded sound, reflected at its ends.
float SampleAt(const float* samples, int64_t count, int64_t padded_length, int64_t i) {
  if (i < 0) i = -i;
  if (i >= padded_length) i = 2 * (padded_length - 1) - i;
  return i >= 0 && i < count ? samples[i] : 0.0f;
}

void FillSpan(const float* samples, int64_t count, int64_t padded_length, int64_t first_frame, float* span) {
  const int64_t begin = first_frame * kHop - kWindow / 2;
  if (begin >= 0 && begin + kSpan <= count) {
    std::copy(samples + begin, samples + begin + kSpan, span);
    return;
  }
  for (int64_t i = 0; i < kSpan; ++i) span[i] = SampleAt(samples, count, padded_length, begin + i);
}

EYAS_SIMD_CLONES
void CutAndScale(float* values, int64_t count, float lowest) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = ((values[i] < lowest ? lowest : values[i]) + 4.0f) / 4.0f;
  }
}

}  // namespace

int64_t LogMelFrames(int64_t count, const LogMelOptions& options) {
  if (count < 1) Fail("logMel", "at least 1 sample", std::to_string(count));
  if (options.mels < 1) Fail("logMel", "mels of 1 or more", std::to_string(options.mels));
  if (options.padded_length < count || options.padded_length <= kWindow / 2) {
    Fail("logMel",
         "a padded length of at least " + std::to_string(std::max<int64_t>(count, kWindow / 2 + 1)) +
             " samples",
         std::to_string(options.padded_length));
  }
  return std::min((count + kHop - 1) / kHop, options.padded_length / kHop);
}

void LogMel(const float* samples, int64_t count, const LogMelOptions& options, float* out) {
  const int64_t frames = LogMelFrames(count, options);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(samples[i])) {
      Fail("logMel", "finite samples", std::to_string(samples[i]) + " at " + std::to_string(i));
    }
  }
  // Later frames see padding only; they hold the floor, below which the highest value cannot be.
  const int64_t heard = std::min(options.padded_length / kHop, (count - 1 + kWindow / 2) / kHop + 1);
  const int64_t blocks = (heard + kBlock - 1) / kBlock;
  static const std::array<float, kWindow> window = HannWindow();
  static const Roots roots;
  const std::vector<Band> bands = MelBands(options.mels);

  const int64_t cost = kBlock * (kWindow * 40 + options.mels * 20);
  const int64_t parts = PartCount(blocks, cost);
  std::vector<Workspace> workspaces(parts);
  std::vector<float> highest(parts, std::log10(static_cast<float>(kFloor)));
  ParallelParts(blocks, parts, [&](int64_t part, int64_t begin, int64_t end) {
    Workspace& work = workspaces[part];
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      FillSpan(samples, count, options.padded_length, first, work.span);
      PowerSpectra(work, window.data(), roots);
      const int64_t used = std::min<int64_t>(kBlock, heard - first);
      for (int64_t m = 0; m < options.mels; ++m) {
        double power[kBlock];
        BandPower(work.power, bands[m], power);
        for (int64_t t = 0; t < used; ++t) {
          const float value = std::log10(static_cast<float>(std::max(power[t], kFloor)));
          highest[part] = std::max(highest[part], value);
          if (first + t < frames) out[m * frames + first + t] = value;
        }
      }
    }
  });

  const float lowest = *std::max_element(highest.begin(), highest.end()) - 8.0f;
  ParallelFor(options.mels * frames, 4,
              [&](int64_t begin, int64_t end) { CutAndScale(out + begin, end - begin, lowest); });
}

}  // namespace eyas
