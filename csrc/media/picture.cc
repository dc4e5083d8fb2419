#include "media/picture.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/parallel.h"
#include "media/jpeg.h"

namespace eyas {

namespace {

// More threads do not make one picture faster.
constexpr int kThreadsPerPicture = 4;

// Pictures that are being worked on, each on a thread of its own.
std::atomic<int> pictures{0};

class InWork {
 public:
  InWork() { pictures.fetch_add(1, std::memory_order_relaxed); }
  ~InWork() { pictures.fetch_sub(1, std::memory_order_relaxed); }
  InWork(const InWork&) = delete;
  InWork& operator=(const InWork&) = delete;

  // This picture's share of the threads.
  int Threads() const {
    return std::min(kThreadsPerPicture, eyas::Threads() / pictures.load(std::memory_order_relaxed));
  }
};

struct Pixels {
  const uint8_t* data = nullptr;
  int64_t height = 0;
  int64_t width = 0;
};

bool DecodeInto(const Picture& picture, uint8_t* out) {
  const auto header = ReadJpegHeader(picture.data, picture.size);
  return header && header->height == picture.height && header->width == picture.width &&
         DecodeJpeg(picture.data, picture.size, *header, out);
}

// The picture's own pixels, in `memory` where it has to be decoded. False where the JPEG is irregular.
bool Decode(const Picture& picture, PixelBuffer& memory, Pixels& pixels) {
  pixels = {picture.data, picture.height, picture.width};
  if (!picture.jpeg) return true;
  memory = PixelBuffer(picture.height * picture.width * 3);
  pixels.data = memory.data();
  return DecodeInto(picture, memory.data());
}

bool KeepsSize(const Pixels& pixels, const View& view) {
  return view.square == 0 && pixels.height == view.height && pixels.width == view.width;
}

// The resized picture into the middle of the view's square.
void Pad(const uint8_t* pixels, const View& view, uint8_t* out) {
  const int64_t row = view.square * 3;
  for (int64_t x = 0; x < row; ++x) out[x] = view.background[x % 3];
  for (int64_t y = 1; y < view.square; ++y) std::memcpy(out + y * row, out, row);
  uint8_t* corner = out + (view.square - view.height) / 2 * row + (view.square - view.width) / 2 * 3;
  const int64_t bytes = view.width * 3;
  for (int64_t y = 0; y < view.height; ++y) std::memcpy(corner + y * row, pixels + y * bytes, bytes);
}

void Render(const Pixels& pixels, const View& view, uint8_t* out) {
  const bool padded = view.square != 0 && (view.square != view.height || view.square != view.width);
  PixelBuffer resized(padded ? view.height * view.width * 3 : 0);
  Resize(pixels.data, pixels.height, pixels.width, 3, padded ? resized.data() : out, view.height, view.width,
         view.filter);
  if (padded) Pad(resized.data(), view, out);
}

// Patches of a view's pixels; returns where the next ones go.
float* Patch(const uint8_t* pixels, const PatchedView& patched, float* out) {
  const View& view = patched.view;
  const int64_t row_bytes = view.out_width() * 3;
  const int64_t tile_height = view.tile != 0 ? view.tile : view.out_height();
  const int64_t tile_width = view.tile != 0 ? view.tile : view.out_width();
  const int64_t values = PatchifySize(1, tile_height, tile_width, patched.patches);
  for (int64_t y = 0; y < view.out_height(); y += tile_height) {
    for (int64_t x = 0; x < view.out_width(); x += tile_width, out += values) {
      Patchify(pixels + y * row_bytes + x * 3, 1, tile_height, tile_width, row_bytes, patched.patches, out);
    }
  }
  return out;
}

}  // namespace

int64_t PatchedSize(const PatchedView& patched) {
  const View& view = patched.view;
  const int64_t height = view.out_height();
  const int64_t width = view.out_width();
  if (view.tile == 0) return PatchifySize(1, height, width, patched.patches);
  if (height % view.tile != 0 || width % view.tile != 0) {
    Fail("patchPicture", "sides that are multiples of the tile " + std::to_string(view.tile),
         Dims({height, width}).ToString());
  }
  return height / view.tile * (width / view.tile) * PatchifySize(1, view.tile, view.tile, patched.patches);
}

bool RenderPicture(const Picture& picture, const View& view, uint8_t* out) {
  const InWork work;
  if (picture.jpeg && KeepsSize({nullptr, picture.height, picture.width}, view))
    return DecodeInto(picture, out);
  PixelBuffer decoded;
  Pixels pixels;
  if (!Decode(picture, decoded, pixels)) return false;
  const ThreadLimit limit(work.Threads());
  Render(pixels, view, out);
  return true;
}

bool PatchPicture(const Picture& picture, const std::vector<PatchedView>& views, float* out) {
  const InWork work;
  PixelBuffer decoded;
  Pixels original;
  if (!Decode(picture, decoded, original)) return false;
  const ThreadLimit limit(work.Threads());
  PixelBuffer memory;
  Pixels last;
  for (const PatchedView& patched : views) {
    const View& view = patched.view;
    const Pixels& from = view.of_previous ? last : original;
    if (KeepsSize(from, view)) {
      last = from;
    } else {
      PixelBuffer rendered(view.out_height() * view.out_width() * 3);
      Render(from, view, rendered.data());
      last = {rendered.data(), view.out_height(), view.out_width()};
      memory = std::move(rendered);
    }
    out = Patch(last.data, patched, out);
  }
  return true;
}

}  // namespace eyas
