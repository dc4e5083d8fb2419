#pragma once

#include <cstdint>
#include <vector>

#include "rope/media_runs.h"

namespace eyas {

// Where text goes on after a clip. They agree on pictures.
enum class PositionRule {
  kEngines,        // transformers 4, SGLang, vLLM: the largest position so far + 1, time included
  kTransformers5,  // transformers 5: the clip's start + max(h, w)
};

struct QwenVLRopeOptions {
  int64_t image_token_id;
  int64_t video_token_id;
  int64_t merge_size;
  double tokens_per_second;
  std::vector<MediaGrid> images;
  std::vector<MediaGrid> videos;
  std::vector<double> second_per_grid;  // seconds a temporal patch spans, for each video
  PositionRule rule;
};

// Position ids of the Qwen-VL families: writes positions [3, length] (time, height, width) and returns
// largest position + 1 - length, the offset of the positions that follow. Every run of placeholders of one
// kind is one picture or clip, in order; std::invalid_argument where their number or a run's length disagrees
// with the grids. Time follows the clock in Qwen2.5-VL alone: in Qwen2-VL a temporal patch spans one second
// of one position, and in Qwen3-VL every frame is a run of its own.
int64_t RopeIndexQwenVL(const int32_t* ids, int64_t length, const QwenVLRopeOptions& options,
                        float* positions);

}  // namespace eyas
