#pragma once

#include <cstdint>

namespace eyas {

// How Qwen-VL's processors cut frames into patches.
struct PatchOptions {
  int64_t patch_size;           // pixels a side
  int64_t temporal_patch_size;  // frames a patch
  int64_t merge_size;           // patches a side of the block that one token stands for
  double rescale;               // factor of the 8-bit values
  double mean[3];               // subtracted after it
  double std[3];                // divides last
};

// Number of floats that Patchify writes: [ceil(count / temporal) · h/patch · w/patch, 3 · temporal · patch²].
// Throws std::invalid_argument where the sizes are not positive, or height or width not whole merge blocks.
int64_t PatchifySize(int64_t count, int64_t height, int64_t width, const PatchOptions& options);

// frames [count, height, width, 3] → patches, rescaled and normalised as float32. Rows go by time, then merge
// block (row, column), then patch within the block; a row goes by channel, frame, y, x. A last temporal patch
// that is not full repeats the last frame, as an image does. Rows of a frame are `row_bytes` apart, and
// frames follow one another: [height, row_bytes].
void Patchify(const uint8_t* frames, int64_t count, int64_t height, int64_t width, int64_t row_bytes,
              const PatchOptions& options, float* out);

}  // namespace eyas
