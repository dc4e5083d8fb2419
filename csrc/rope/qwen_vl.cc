#include "rope/qwen_vl.h"

#include <algorithm>
#include <string>

#include "core/check.h"

namespace eyas {
namespace {

constexpr char kOp[] = "ropeIndexQwenVL";
// Bound of a time step, so that times stay within an int64.
constexpr int64_t kMaxStep = 1 << 20;

// Time position of the k-th temporal patch after the clip's start. The engines multiply by the seconds first,
// transformers 5 by the product of seconds and rate; each product is rounded to float32, the last one
// truncated.
int64_t TimeOffset(int64_t k, const QwenVLRopeOptions& options, size_t video) {
  const float seconds = static_cast<float>(options.second_per_grid[video]);
  const float rate = static_cast<float>(options.tokens_per_second);
  if (options.rule == PositionRule::kEngines) {
    const float time = static_cast<float>(k) * seconds;
    return static_cast<int64_t>(time * rate);
  }
  const float interval = seconds * rate;
  return static_cast<int64_t>(static_cast<float>(k) * interval);
}

}  // namespace

int64_t RopeIndexQwenVL(const int32_t* ids, int64_t length, const QwenVLRopeOptions& options,
                        float* positions) {
  if (options.merge_size <= 0) Fail(kOp, "a positive mergeSize", std::to_string(options.merge_size));
  if (options.second_per_grid.size() != options.videos.size()) {
    Fail(kOp, std::to_string(options.videos.size()) + " entries of secondPerGrid, one a video",
         std::to_string(options.second_per_grid.size()));
  }
  const double rate = options.tokens_per_second;
  for (const double seconds : options.second_per_grid) {
    if (!(seconds >= 0 && seconds * rate >= 0 && seconds * rate < kMaxStep)) {
      Fail(kOp, "finite, positive secondPerGrid and tokensPerSecond",
           std::to_string(seconds) + " and " + std::to_string(rate));
    }
  }
  MediaRuns images(kOp, "image", options.images, options.merge_size);
  MediaRuns videos(kOp, "video", options.videos, options.merge_size);
  float* time = positions;
  float* height = positions + length;
  float* width = positions + 2 * length;
  int64_t next = 0;      // position of the next text token
  int64_t largest = -1;  // over everything so far
  for (int64_t i = 0; i < length;) {
    const int32_t id = ids[i];
    if (id != options.image_token_id && id != options.video_token_id) {
      time[i] = height[i] = width[i] = static_cast<float>(next);
      largest = std::max(largest, next++);
      ++i;
      continue;
    }
    int64_t end = i;
    while (end < length && ids[end] == id) ++end;
    const bool is_video = id == options.video_token_id;
    const size_t index = (is_video ? videos : images).Next(end - i);
    const MediaGrid& grid = (is_video ? options.videos : options.images)[index];
    const int64_t rows = grid.h / options.merge_size;
    const int64_t columns = grid.w / options.merge_size;
    int64_t last = next + std::max(rows, columns) - 1;
    const int64_t clip_next = last + 1;
    for (int64_t k = 0; k < grid.t; ++k) {
      const int64_t now = next + (is_video ? TimeOffset(k, options, index) : 0);
      last = std::max(last, now);
      for (int64_t y = 0; y < rows; ++y) {
        for (int64_t x = 0; x < columns; ++x, ++i) {
          time[i] = static_cast<float>(now);
          height[i] = static_cast<float>(next + y);
          width[i] = static_cast<float>(next + x);
        }
      }
    }
    largest = std::max(largest, last);
    next = options.rule == PositionRule::kEngines ? last + 1 : clip_next;
  }
  images.ExpectAllUsed();
  videos.ExpectAllUsed();
  return largest + 1 - length;
}

}  // namespace eyas
