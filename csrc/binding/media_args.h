#pragma once

#include "binding/args.h"
#include "media/patchify.h"
#include "media/pixel_buffer.h"
#include "media/resize.h"

namespace eyas {

// More than any picture has, and small enough that products of sizes stay within an int64.
constexpr int64_t kMaxSide = 1 << 20;

// Throws where a size is not within 1 and kMaxSide.
void ExpectSides(const char* op, const Dims& shape);
// Throws where data does not have the bytes of that shape, or its sizes are no sides.
void ExpectPixels(const char* op, const Span<uint8_t>& data, const Dims& shape);
ResizeFilter ParseFilter(const char* op, const std::string& name);
PatchOptions ReadPatchOptions(const char* op, const Options& options);

// Arrays over the buffer, which is released when they are collected.
Napi::Float32Array ToFloat32Array(Napi::Env env, PixelBuffer&& buffer);
Napi::Uint8Array ToUint8Array(Napi::Env env, PixelBuffer&& buffer);

}  // namespace eyas
