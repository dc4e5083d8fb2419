#include "binding/args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "media/log_mel.h"
#include "media/patchify.h"
#include "media/resize.h"

namespace eyas {
namespace {

// More than any picture has, and small enough that products of sizes stay within an int64.
constexpr int64_t kMaxSide = 1 << 20;

// More bands would be narrower than the bins of the spectrum, and some of them empty.
constexpr int64_t kMaxMels = 128;

void ExpectPixels(const char* op, const Span<uint8_t>& data, const Dims& shape) {
  for (const int64_t size : shape) {
    if (size < 1 || size > kMaxSide)
      Fail(op, "sizes from 1 to " + std::to_string(kMaxSide), shape.ToString());
  }
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

Napi::Value ResizeImage(const Napi::CallbackInfo& info) {
  const Args args("resize", info);
  const auto data = args.TypedArray<uint8_t>(0, "data");
  const int64_t height = args.Int(1, "height");
  const int64_t width = args.Int(2, "width");
  const int64_t channels = args.Int(3, "channels");
  const int64_t out_height = args.Int(4, "outHeight");
  const int64_t out_width = args.Int(5, "outWidth");
  const ResizeFilter filter = ParseFilter(args.op(), args.Text(6, "filter"));
  ExpectPixels(args.op(), data, {height, width, channels});
  if (out_height < 1 || out_width < 1 || out_height > kMaxSide || out_width > kMaxSide) {
    Fail(args.op(), "output sizes from 1 to " + std::to_string(kMaxSide),
         Dims({out_height, out_width}).ToString());
  }
  auto out = Napi::Uint8Array::New(args.env(), out_height * out_width * channels);
  Resize(data.data, height, width, channels, out.Data(), out_height, out_width, filter);
  return out;
}

void ReadTriple(const Options& options, const char* op, const char* name, double* out) {
  const std::vector<double> values = options.Numbers(name);
  if (values.size() != 3) {
    Fail(op, std::string("3 numbers for ") + name, std::to_string(values.size()));
  }
  std::copy(values.begin(), values.end(), out);
}

Napi::Value PatchifyFrames(const Napi::CallbackInfo& info) {
  const Args args("patchify", info);
  const auto frames = args.TypedArray<uint8_t>(0, "frames");
  const int64_t count = args.Int(1, "count");
  const int64_t height = args.Int(2, "height");
  const int64_t width = args.Int(3, "width");
  const Options options = args.Options(4);
  PatchOptions patch{};
  patch.patch_size = options.Int("patchSize");
  patch.temporal_patch_size = options.Int("temporalPatchSize");
  patch.merge_size = options.Int("mergeSize");
  patch.rescale = options.Number("rescale");
  ReadTriple(options, args.op(), "mean", patch.mean);
  ReadTriple(options, args.op(), "std", patch.std);
  for (const int64_t size : {patch.patch_size, patch.temporal_patch_size, patch.merge_size}) {
    if (size > kMaxSide) Fail(args.op(), "sizes up to " + std::to_string(kMaxSide), std::to_string(size));
  }
  ExpectPixels(args.op(), frames, {count, height, width, 3});
  auto out = Napi::Float32Array::New(args.env(), PatchifySize(count, height, width, patch));
  Patchify(frames.data, count, height, width, patch, out.Data());
  return out;
}

Napi::Value LogMelFeatures(const Napi::CallbackInfo& info) {
  const Args args("logMel", info);
  const auto samples = args.TypedArray<float>(0, "samples");
  const Options options = args.Options(1);
  const auto count = static_cast<int64_t>(samples.size);
  LogMelOptions log_mel{};
  log_mel.mels = options.Int("mels");
  log_mel.padded_length = options.Int("paddedLength", count);
  if (log_mel.mels > kMaxMels) {
    Fail(args.op(), "mels up to " + std::to_string(kMaxMels), std::to_string(log_mel.mels));
  }
  auto out = Napi::Float32Array::New(args.env(), log_mel.mels * LogMelFrames(count, log_mel));
  LogMel(samples.data, count, log_mel, out.Data());
  return out;
}

}  // namespace

void InitMedia(Napi::Env, Napi::Object exports) {
  Export<ResizeImage>(exports, "resize");
  Export<PatchifyFrames>(exports, "patchify");
  Export<LogMelFeatures>(exports, "logMel");
}

}  // namespace eyas
