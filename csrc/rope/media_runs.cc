#include "rope/media_runs.h"

#include "core/check.h"

namespace eyas {
namespace {

// Keeps the number of patches within an int64.
constexpr int64_t kMaxSide = 1 << 20;

}  // namespace

MediaRuns::MediaRuns(const char* op, const char* kind, const std::vector<MediaGrid>& grids, int64_t merge)
    : op_(op), kind_(kind), grids_(grids), merge_(merge) {
  for (size_t i = 0; i < grids.size(); ++i) {
    const MediaGrid& grid = grids[i];
    bool valid = grid.h % merge == 0 && grid.w % merge == 0;
    for (const int64_t size : {grid.t, grid.h, grid.w}) valid = valid && size > 0 && size <= kMaxSide;
    if (!valid) {
      Fail(op_, "a grid with height and width in multiples of " + std::to_string(merge) + " for " + Name(i),
           Dims({grid.t, grid.h, grid.w}).ToString());
    }
  }
}

size_t MediaRuns::Next(int64_t run_length) {
  if (next_ >= grids_.size()) {
    Fail(op_, std::to_string(grids_.size()) + " runs of " + kind_ + " placeholders", "at least one more");
  }
  const int64_t tokens = grids_[next_].t * (grids_[next_].h / merge_) * (grids_[next_].w / merge_);
  if (run_length != tokens) {
    Fail(op_, std::to_string(tokens) + " placeholders for " + Name(next_), std::to_string(run_length));
  }
  return next_++;
}

void MediaRuns::ExpectAllUsed() const {
  if (next_ != grids_.size()) {
    Fail(op_, std::to_string(grids_.size()) + " runs of " + kind_ + " placeholders", std::to_string(next_));
  }
}

std::string MediaRuns::Name(size_t index) const { return kind_ + (" " + std::to_string(index)); }

}  // namespace eyas
