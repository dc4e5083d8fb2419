#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace eyas {

// Pictures of more pixels are refused: where Pillow takes one for a decompression bomb.
constexpr int64_t kMaxPicturePixels = 178'956'970;

struct JpegHeader {
  // Of the picture as its orientation turns it.
  int64_t height;
  int64_t width;
  // EXIF's, 1 to 8; 1 where there is none.
  int orientation;
};

// Header of a JPEG whose pixels DecodeJpeg gives: 8 bits, gray, YCbCr or RGB, Huffman-coded, with EXIF data
// that says plainly how to turn it. Nothing for everything else, which other decoders may take or refuse.
std::optional<JpegHeader> ReadJpegHeader(const uint8_t* data, size_t size);

// Decodes into `rgb` [height, width, 3], turned, byte for byte as Pillow does. False where anything about the
// file is irregular, a warning of libjpeg's included; `rgb` is undefined then.
bool DecodeJpeg(const uint8_t* data, size_t size, const JpegHeader& header, uint8_t* rgb);

}  // namespace eyas
