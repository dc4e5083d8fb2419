#pragma once

#include <cstdint>
#include <vector>

#include "rope/media_runs.h"

namespace eyas {

enum class OmniRule {
  kQwen2_5Omni,  // whole times; the two tokens before a clip with sound share a position, and the two after
                 // it
  kQwen3Omni,    // times keep their fraction; every token of text has a position of its own
};

struct OmniRopeOptions {
  int64_t image_token_id;
  int64_t video_token_id;
  int64_t audio_token_id;
  int64_t vision_start_token_id;
  int64_t audio_start_token_id;
  int64_t merge_size;
  double positions_per_second;
  std::vector<MediaGrid> images;
  std::vector<MediaGrid> videos;
  std::vector<double> second_per_grid;  // seconds a temporal patch spans, for each video
  OmniRule rule;
};

// Position ids of Qwen2.5-Omni's and Qwen3-Omni's thinkers, as transformers has them: writes positions
// [3, length] (time, height, width) and returns largest position + 1 - length, the offset of the positions
// that follow. A sound takes one position a token. Where sound and frames of a clip are mixed, each counts
// from the same start, and text goes on after the last token of the mix, whatever was larger before. Every
// run of image placeholders is a picture; every run of video placeholders, sound between them or not, a clip.
// std::invalid_argument where runs and grids disagree.
double RopeIndexOmni(const int32_t* ids, int64_t length, const OmniRopeOptions& options, float* positions);

}  // namespace eyas
