#include "binding/media_args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "media/log_mel.h"

namespace eyas {
namespace {

// More bands would be narrower than the bins of the spectrum, and some of them empty.
constexpr int64_t kMaxMels = 128;

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

Napi::Value PatchifyFrames(const Napi::CallbackInfo& info) {
  const Args args("patchify", info);
  const auto frames = args.TypedArray<uint8_t>(0, "frames");
  const int64_t count = args.Int(1, "count");
  const int64_t height = args.Int(2, "height");
  const int64_t width = args.Int(3, "width");
  const PatchOptions patch = ReadPatchOptions(args.op(), args.Options(4));
  ExpectPixels(args.op(), frames, {count, height, width, 3});
  PixelBuffer out(PatchifySize(count, height, width, patch) * sizeof(float));
  Patchify(frames.data, count, height, width, width * 3, patch, reinterpret_cast<float*>(out.data()));
  return ToFloat32Array(args.env(), std::move(out));
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
