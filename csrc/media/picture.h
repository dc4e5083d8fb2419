#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "media/patchify.h"
#include "media/pixel_buffer.h"
#include "media/resize.h"

namespace eyas {

// A picture as it comes; the memory is the caller's.
struct Picture {
  const uint8_t* data;
  size_t size;
  int64_t height;
  int64_t width;
  // Whether data is a JPEG that ReadJpegHeader knows, and not pixels [height, width, 3].
  bool jpeg;
};

// What a model looks at: the picture in another size, whole, in a square, or cut.
struct View {
  int64_t height;
  int64_t width;
  ResizeFilter filter;
  // Made from the view before, not from the picture.
  bool of_previous;
  // Side of a square in whose middle the resized picture lies, or 0; what it does not fill has the colour
  // `background`.
  int64_t square;
  uint8_t background[3];
  // Side of the squares that it is cut into, row by row, each with patches of its own; 0 for one piece.
  int64_t tile;

  int64_t out_height() const { return square != 0 ? square : height; }
  int64_t out_width() const { return square != 0 ? square : width; }
};

// A view as patches, one frame a patch row.
struct PatchedView {
  View view;
  PatchOptions patches;
};

// Values that PatchPicture writes for a view. Throws std::invalid_argument where the view cannot be cut so.
int64_t PatchedSize(const PatchedView& patched);

// The pixels of a view, [height, width, 3], decoded, resized and padded. False where the JPEG is irregular.
bool RenderPicture(const Picture& picture, const View& view, uint8_t* out);

// The patches of all views end to end. False where the JPEG is irregular.
bool PatchPicture(const Picture& picture, const std::vector<PatchedView>& views, float* out);

}  // namespace eyas
