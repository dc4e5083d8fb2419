#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eyas {

// A picture or clip: patches in time, height and width.
struct MediaGrid {
  int64_t t;
  int64_t h;
  int64_t w;
};

// The placeholders of one kind (image or video) and the grids that they stand for, in order. Every function
// throws std::invalid_argument where they disagree; `op` names the operation in messages.
class MediaRuns {
 public:
  MediaRuns(const char* op, const char* kind, const std::vector<MediaGrid>& grids, int64_t merge);

  // Index of the next grid, which must fill the run.
  size_t Next(int64_t run_length);

  void ExpectAllUsed() const;

 private:
  std::string Name(size_t index) const;

  const char* op_;
  std::string kind_;
  const std::vector<MediaGrid>& grids_;
  int64_t merge_;
  size_t next_ = 0;
};

}  // namespace eyas
