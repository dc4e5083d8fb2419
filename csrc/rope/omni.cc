#include "rope/omni.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/check.h"

namespace eyas {
namespace {

constexpr char kOp[] = "ropeIndexOmni";
// Bound of a time step: positions are float32.
constexpr double kMaxStep = 1 << 20;

// Writes positions one after another and knows the next of text. All in float32, as transformers.
class Writer {
 public:
  Writer(float* positions, int64_t length) : positions_(positions), length_(length) {}

  int64_t at() const { return at_; }
  float next() const { return next_; }
  float largest() const { return largest_; }

  void Put(float time, float height, float width) {
    positions_[at_] = time;
    positions_[length_ + at_] = height;
    positions_[2 * length_ + at_] = width;
    last_ = std::max({time, height, width});
    largest_ = std::max(largest_, last_);
    ++at_;
  }

  // Text goes on after the last position.
  void Resume() { next_ = last_ + 1; }

  void PutText() {
    Put(next_, next_, next_);
    Resume();
  }

  // Up to two tokens at one position.
  void PutPair() {
    for (int i = 0; i < 2 && at_ < length_; ++i) Put(next_, next_, next_);
    Resume();
  }

 private:
  float* positions_;
  int64_t length_;
  int64_t at_ = 0;
  float next_ = 0;
  float last_ = -1;
  float largest_ = -1;
};

// Time of temporal patch `frame` after the clip's start.
float TimeOffset(int64_t frame, const OmniRopeOptions& options, size_t video) {
  const float seconds = static_cast<float>(frame) * static_cast<float>(options.second_per_grid[video]);
  const float time = seconds * static_cast<float>(options.positions_per_second);
  return options.rule == OmniRule::kQwen2_5Omni ? std::trunc(time) : time;
}

void Check(const OmniRopeOptions& options) {
  if (options.merge_size <= 0) Fail(kOp, "a positive mergeSize", std::to_string(options.merge_size));
  if (options.second_per_grid.size() != options.videos.size()) {
    Fail(kOp, std::to_string(options.videos.size()) + " entries of secondPerGrid, one a video",
         std::to_string(options.second_per_grid.size()));
  }
  const double rate = options.positions_per_second;
  if (!(rate >= 0)) Fail(kOp, "positive positionsPerSecond", std::to_string(rate));
  for (const double seconds : options.second_per_grid) {
    if (!(seconds >= 0 && seconds * rate < kMaxStep)) {
      Fail(kOp, "finite, positive secondPerGrid and positionsPerSecond",
           std::to_string(seconds) + " and " + std::to_string(rate));
    }
  }
}

}  // namespace

double RopeIndexOmni(const int32_t* ids, int64_t length, const OmniRopeOptions& options, float* positions) {
  Check(options);
  MediaRuns images(kOp, "image", options.images, options.merge_size);
  MediaRuns videos(kOp, "video", options.videos, options.merge_size);
  Writer out(positions, length);
  const bool pairs = options.rule == OmniRule::kQwen2_5Omni;

  const auto put_picture = [&] {
    const int64_t begin = out.at();
    int64_t end = begin;
    while (end < length && ids[end] == options.image_token_id) ++end;
    const MediaGrid& grid = options.images[images.Next(end - begin)];
    const int64_t columns = grid.w / options.merge_size;
    const float start = out.next();
    for (int64_t place = 0; place < end - begin; ++place) {
      out.Put(start, start + static_cast<float>(place / columns),
              start + static_cast<float>(place % columns));
    }
    out.Resume();
  };

  const auto put_clip = [&] {
    int64_t end = out.at();
    int64_t frame_tokens = 0;
    for (; end < length; ++end) {
      if (ids[end] == options.video_token_id)
        ++frame_tokens;
      else if (ids[end] != options.audio_token_id)
        break;
    }
    const bool sound = frame_tokens < end - out.at();
    const size_t index = videos.Next(frame_tokens);
    const MediaGrid& grid = options.videos[index];
    const int64_t columns = grid.w / options.merge_size;
    const int64_t per_frame = columns * (grid.h / options.merge_size);
    const float start = out.next();
    int64_t seen = 0;
    int64_t heard = 0;
    while (out.at() < end) {
      if (ids[out.at()] == options.video_token_id) {
        const int64_t place = seen % per_frame;
        out.Put(start + TimeOffset(seen / per_frame, options, index),
                start + static_cast<float>(place / columns), start + static_cast<float>(place % columns));
        ++seen;
      } else {
        const float now = start + static_cast<float>(heard++);
        out.Put(now, now, now);
      }
    }
    out.Resume();
    if (sound && pairs && out.at() < length) out.PutPair();
  };

  while (out.at() < length) {
    const int32_t id = ids[out.at()];
    if (id == options.image_token_id) {
      put_picture();
    } else if (id == options.video_token_id) {
      put_clip();
    } else if (pairs && id == options.vision_start_token_id && out.at() + 1 < length &&
               ids[out.at() + 1] == options.audio_start_token_id) {
      out.PutPair();
    } else {
      out.PutText();
    }
  }
  images.ExpectAllUsed();
  videos.ExpectAllUsed();
  return static_cast<double>(out.largest() + 1 - static_cast<float>(length));
}

}  // namespace eyas
