#include "binding/media_args.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace eyas {

namespace {

void ReadTriple(const Options& options, const char* op, const char* name, double* out) {
  const std::vector<double> values = options.Numbers(name);
  if (values.size() != 3) {
    Fail(op, std::string("3 numbers for ") + name, std::to_string(values.size()));
  }
  std::copy(values.begin(), values.end(), out);
}

Napi::ArrayBuffer ToArrayBuffer(Napi::Env env, PixelBuffer&& buffer) {
  auto* owner = new PixelBuffer(std::move(buffer));
  return Napi::ArrayBuffer::New(
      env, owner->data(), owner->size(), [](Napi::BasicEnv, void*, PixelBuffer* kept) { delete kept; },
      owner);
}

}  // namespace

void ExpectSides(const char* op, const Dims& shape) {
  for (const int64_t size : shape) {
    if (size < 1 || size > kMaxSide)
      Fail(op, "sizes from 1 to " + std::to_string(kMaxSide), shape.ToString());
  }
}

void ExpectPixels(const char* op, const Span<uint8_t>& data, const Dims& shape) {
  ExpectSides(op, shape);
  if (static_cast<int64_t>(data.size) != shape.Product()) {
    Fail(op, std::to_string(shape.Product()) + " bytes for " + shape.ToString(), std::to_string(data.size));
  }
}

ResizeFilter ParseFilter(const char* op, const std::string& name) {
  if (name == "bicubic") return ResizeFilter::kBicubic;
  if (name == "bilinear") return ResizeFilter::kBilinear;
  if (name == "lanczos") return ResizeFilter::kLanczos;
  Fail(op, "bicubic, bilinear or lanczos for filter", "'" + name + "'");
}

PatchOptions ReadPatchOptions(const char* op, const Options& options) {
  PatchOptions patch{};
  patch.patch_size = options.Int("patchSize");
  patch.temporal_patch_size = options.Int("temporalPatchSize");
  patch.merge_size = options.Int("mergeSize");
  patch.rescale = options.Number("rescale");
  ReadTriple(options, op, "mean", patch.mean);
  ReadTriple(options, op, "std", patch.std);
  for (const int64_t size : {patch.patch_size, patch.temporal_patch_size, patch.merge_size}) {
    if (size > kMaxSide) Fail(op, "sizes up to " + std::to_string(kMaxSide), std::to_string(size));
  }
  return patch;
}

Napi::Float32Array ToFloat32Array(Napi::Env env, PixelBuffer&& buffer) {
  const size_t count = buffer.size() / sizeof(float);
  return Napi::Float32Array::New(env, count, ToArrayBuffer(env, std::move(buffer)), 0);
}

Napi::Uint8Array ToUint8Array(Napi::Env env, PixelBuffer&& buffer) {
  const size_t count = buffer.size();
  return Napi::Uint8Array::New(env, count, ToArrayBuffer(env, std::move(buffer)), 0);
}

}  // namespace eyas
