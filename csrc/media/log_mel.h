#pragma once

#include <cstdint>

namespace eyas {

struct LogMelOptions {
  int64_t mels;           // bands between 0 and 8 kHz
  int64_t padded_length;  // samples after zeros are appended; at least `count`
};

// Frames that hold sound: one for each begun hop of 160 of `count` samples, as far as the padded length has
// whole hops. Throws std::invalid_argument where count or mels is below 1, padded_length below count, or
// padded_length 200 or less: reflection needs more samples than it mirrors.
int64_t LogMelFrames(int64_t count, const LogMelOptions& options);

// Whisper's log-mel features of `count` samples at 16 kHz into `out` [mels, frames]: Hann windows of 400
// samples at every 160th, both ends reflected; power spectrum; Slaney's triangular bands; log10 of at least
// 1e-10, cut off 8 below the highest; (x + 4) / 4. The highest is that of all padded_length / 160 frames.
// Follows transformers' WhisperFeatureExtractor with torch, float32 window included, but transforms in
// float64. Throws where a sample is not finite.
void LogMel(const float* samples, int64_t count, const LogMelOptions& options, float* out);

}  // namespace eyas
