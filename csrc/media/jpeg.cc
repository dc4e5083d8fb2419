#include "media/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <utility>

// After cstdio: it uses FILE without including it.
#include <jpeglib.h>

#include "media/pixel_buffer.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "expected the headers of libjpeg-turbo: other libjpegs upsample chroma differently"
#endif

namespace eyas {

namespace {

// More scans than any encoder writes: a file that would cost minutes.
constexpr int kMaxScans = 100;

// Rows that are turned at a time.
constexpr int64_t kStrip = 16;

// libjpeg leaves a call that it cannot finish by longjmp. What lies between it and setjmp is libjpeg's own
// code and the callbacks below, which have nothing to destroy.
struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf leave;
};

[[noreturn]] void Leave(j_common_ptr codec) { std::longjmp(reinterpret_cast<Errors*>(codec->err)->leave, 1); }

void LeaveOnWarning(j_common_ptr codec, int level) {
  if (level < 0) Leave(codec);
}

void LimitScans(j_common_ptr codec) {
  if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number > kMaxScans) Leave(codec);
}

class Decompressor {
 public:
  Decompressor() {
    codec_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = Leave;
    errors_.base.emit_message = LeaveOnWarning;
    progress_.progress_monitor = LimitScans;
  }
  ~Decompressor() { jpeg_destroy_decompress(&codec_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  jpeg_decompress_struct* codec() { return &codec_; }
  std::jmp_buf& leave() { return errors_.leave; }

  // Reads up to the first scan; callers have called setjmp.
  void Open(const uint8_t* data, size_t size) {
    jpeg_create_decompress(&codec_);
    codec_.progress = &progress_;
    jpeg_mem_src(&codec_, data, size);
    jpeg_save_markers(&codec_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&codec_, TRUE);
  }

 private:
  jpeg_decompress_struct codec_{};
  Errors errors_{};
  jpeg_progress_mgr progress_{};
};

// The fields of a TIFF structure, in its byte order.
class Tiff {
 public:
  Tiff(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  // The orientation of the first directory: 1 where it has none, 0 where it cannot be told.
  int Orientation() {
    if (size_ < 8) return 0;
    little_ = data_[0] == 'I';
    if (std::memcmp(data_, little_ ? "II" : "MM", 2) != 0 || Number(2, 2) != 42) return 0;
    const size_t directory = Number(4, 4);
    if (directory < 8 || directory + 2 > size_) return 0;
    const size_t entries = Number(directory, 2);
    if (directory + 2 + 12 * entries > size_) return 0;
    int orientation = 1;
    for (size_t i = 0; i < entries; ++i) {
      const size_t entry = directory + 2 + 12 * i;
      if (Number(entry, 2) != kTag) continue;
      const size_t value = Number(entry + 8, 2);
      const bool plain = Number(entry + 2, 2) == kShort && Number(entry + 4, 4) == 1;
      if (!plain || value < 1 || value > 8 || orientation != 1) return 0;
      orientation = static_cast<int>(value);
    }
    return orientation;
  }

 private:
  static constexpr size_t kTag = 0x112;
  static constexpr size_t kShort = 3;

  size_t Number(size_t at, size_t bytes) const {
    size_t number = 0;
    for (size_t i = 0; i < bytes; ++i) number = number << 8 | data_[at + (little_ ? bytes - 1 - i : i)];
    return number;
  }

  const uint8_t* data_;
  size_t size_;
  bool little_ = false;
};

// 0 where it cannot be told.
int OrientationOf(const jpeg_decompress_struct& codec) {
  constexpr char kExif[] = "Exif\0";  // and the terminator
  int orientation = 1;
  bool seen = false;
  for (const jpeg_marker_struct* marker = codec.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->data_length < 4 || std::memcmp(marker->data, kExif, 4) != 0) continue;
    if (seen || marker->data_length < sizeof kExif || std::memcmp(marker->data, kExif, sizeof kExif) != 0)
      return 0;
    orientation = Tiff(marker->data + sizeof kExif, marker->data_length - sizeof kExif).Orientation();
    seen = true;
  }
  return orientation;
}

bool IsPlain(const jpeg_decompress_struct& codec) {
  const bool known = codec.jpeg_color_space == JCS_GRAYSCALE || codec.jpeg_color_space == JCS_YCbCr ||
                     codec.jpeg_color_space == JCS_RGB;
  const int64_t pixels = int64_t{codec.image_width} * codec.image_height;
  return known && codec.data_precision == 8 && !codec.arith_code && pixels <= kMaxPicturePixels;
}

// Whether every bit of every coefficient has come; libjpeg would smooth the blocks of a progressive file
// without.
bool IsComplete(const jpeg_decompress_struct& codec) {
  if (codec.coef_bits == nullptr) return true;
  for (int component = 0; component < codec.num_components; ++component) {
    for (int i = 0; i < DCTSIZE2; ++i) {
      if (codec.coef_bits[component][i] != 0) return false;
    }
  }
  return true;
}

// Puts rows [first, first + count) of a picture [height, width] as it is stored to where its orientation
// says.
void Turn(const uint8_t* rows, int64_t first, int64_t count, int64_t height, int64_t width, int orientation,
          uint8_t* out) {
  const bool right_to_left = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool upside_down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool transposed = orientation >= 5;
  const int64_t x_step = (transposed ? height : 1) * (right_to_left ? -3 : 3);
  const int64_t y_step = (transposed ? 1 : width) * (upside_down ? -3 : 3);
  const int64_t x0 = right_to_left ? (width - 1) * -x_step : 0;
  const int64_t y0 = upside_down ? (height - 1 - first) * -y_step : first * y_step;
  const auto copy = [&](int64_t x, int64_t y) {
    std::memcpy(out + x0 + x * x_step + y0 + y * y_step, rows + (y * width + x) * 3, 3);
  };
  if (transposed) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t y = 0; y < count; ++y) copy(x, y);
    }
  } else {
    for (int64_t y = 0; y < count; ++y) {
      for (int64_t x = 0; x < width; ++x) copy(x, y);
    }
  }
}

}  // namespace

std::optional<JpegHeader> ReadJpegHeader(const uint8_t* data, size_t size) {
  if (size < 3 || data[0] != 0xff || data[1] != 0xd8 || data[2] != 0xff) return std::nullopt;
  Decompressor decompressor;
  if (setjmp(decompressor.leave()) != 0) return std::nullopt;
  decompressor.Open(data, size);
  const jpeg_decompress_struct& codec = *decompressor.codec();
  const int orientation = OrientationOf(codec);
  if (orientation == 0 || !IsPlain(codec)) return std::nullopt;
  JpegHeader header{codec.image_height, codec.image_width, orientation};
  if (orientation >= 5) std::swap(header.height, header.width);
  return header;
}

bool DecodeJpeg(const uint8_t* data, size_t size, const JpegHeader& header, uint8_t* rgb) {
  const bool turned = header.orientation != 1;
  const bool transposed = header.orientation >= 5;
  const int64_t height = transposed ? header.width : header.height;
  const int64_t width = transposed ? header.height : header.width;
  const PixelBuffer strip(turned ? kStrip * width * 3 : 0);
  Decompressor decompressor;
  if (setjmp(decompressor.leave()) != 0) return false;
  decompressor.Open(data, size);
  jpeg_decompress_struct* codec = decompressor.codec();
  if (codec->image_height != height || codec->image_width != width) return false;

  codec->out_color_space = JCS_RGB;
  codec->dct_method = JDCT_ISLOW;
  codec->do_fancy_upsampling = TRUE;
  jpeg_start_decompress(codec);
  if (!IsComplete(*codec)) return false;
  while (codec->output_scanline < codec->output_height) {
    const int64_t first = codec->output_scanline;
    const int64_t count = std::min(kStrip, height - first);
    uint8_t* target = turned ? strip.data() : rgb + first * width * 3;
    JSAMPROW rows[kStrip];
    for (int64_t i = 0; i < count; ++i) rows[i] = target + i * width * 3;
    int64_t read = 0;
    while (read < count)
      read += jpeg_read_scanlines(codec, rows + read, static_cast<JDIMENSION>(count - read));
    if (turned) Turn(strip.data(), first, count, height, width, header.orientation, rgb);
  }
  jpeg_finish_decompress(codec);
  return true;
}

}  // namespace eyas
