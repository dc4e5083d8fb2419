#include "media/patchify.h"

#include <algorithm>
#include <string>

#include "core/check.h"
#include "core/parallel.h"

namespace eyas {

int64_t PatchifySize(int64_t count, int64_t height, int64_t width, const PatchOptions& options) {
  if (options.patch_size <= 0 || options.temporal_patch_size <= 0 || options.merge_size <= 0) {
    Fail("patchify", "positive patchSize, temporalPatchSize and mergeSize",
         Dims({options.patch_size, options.temporal_patch_size, options.merge_size}).ToString());
  }
  const int64_t block = options.patch_size * options.merge_size;
  if (count <= 0 || height <= 0 || width <= 0 || height % block != 0 || width % block != 0) {
    Fail("patchify", "frames whose height and width are multiples of " + std::to_string(block),
         Dims({count, height, width}).ToString());
  }
  const int64_t slices = (count + options.temporal_patch_size - 1) / options.temporal_patch_size;
  return slices * options.temporal_patch_size * height * width * 3;
}

void Patchify(const uint8_t* frames, int64_t count, int64_t height, int64_t width, int64_t row_bytes,
              const PatchOptions& options, float* out) {
  const int64_t size = PatchifySize(count, height, width, options);
  const int64_t patch = options.patch_size;
  const int64_t merge = options.merge_size;
  const int64_t temporal = options.temporal_patch_size;

  // A value depends on its byte and channel alone. The product is rounded to float32 before the rest, as in
  // numpy.
  float values[3][256];
  for (int c = 0; c < 3; ++c) {
    const float mean = static_cast<float>(options.mean[c]);
    const float std = static_cast<float>(options.std[c]);
    for (int byte = 0; byte < 256; ++byte) {
      values[c][byte] = (static_cast<float>(byte * options.rescale) - mean) / std;
    }
  }

  const int64_t grid_w = width / patch;
  const int64_t bands = height / (patch * merge);  // rows of merge blocks in a frame
  const int64_t slices = (count + temporal - 1) / temporal;
  const int64_t band_size = size / (slices * bands);
  ParallelFor(slices * bands, band_size, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      float* target = out + item * band_size;
      const int64_t slice = item / bands;
      const int64_t top = item % bands * merge * patch;
      for (int64_t block = 0; block < grid_w / merge; ++block) {
        for (int64_t in_block = 0; in_block < merge * merge; ++in_block) {
          const int64_t y0 = top + in_block / merge * patch;
          const int64_t x0 = (block * merge + in_block % merge) * patch;
          for (int64_t c = 0; c < 3; ++c) {
            for (int64_t t = 0; t < temporal; ++t) {
              const int64_t frame = slice * temporal + t;
              if (frame >= count) {  // the last frame again: a picture is one, however many a patch spans
                target = std::copy_n(target - patch * patch, patch * patch, target);
                continue;
              }
              for (int64_t y = y0; y < y0 + patch; ++y) {
                const uint8_t* row = frames + (frame * height + y) * row_bytes + x0 * 3 + c;
                for (int64_t x = 0; x < patch; ++x) *target++ = values[c][row[x * 3]];
              }
            }
          }
        }
      }
    }
  });
}

}  // namespace eyas
