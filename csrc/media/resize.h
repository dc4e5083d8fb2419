#pragma once

#include <cstdint>

namespace eyas {

enum class ResizeFilter { kBilinear, kBicubic, kLanczos };

// Resizes interleaved 8-bit pixels [height, width, channels] into `out` [out_height, out_width, channels]:
// the antialiasing, fixed-point, two-pass resampling of Pillow's Image.resize, byte for byte. Bicubic has a =
// -0.5 and Lanczos three lobes. Throws std::invalid_argument where a size is not positive.
void Resize(const uint8_t* data, int64_t height, int64_t width, int64_t channels, uint8_t* out,
            int64_t out_height, int64_t out_width, ResizeFilter filter);

}  // namespace eyas
