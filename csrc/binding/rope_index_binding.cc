#include "binding/args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "rope/omni.h"
#include "rope/qwen_vl.h"

namespace eyas {
namespace {

std::vector<MediaGrid> ReadGrids(const Options& options, const char* op, const char* name) {
  const auto values = options.TypedArray<int32_t>(name);
  if (values.size % 3 != 0) {
    Fail(op, std::string("[t,h,w] triples for ") + name, std::to_string(values.size) + " numbers");
  }
  std::vector<MediaGrid> grids;
  for (size_t i = 0; i < values.size; i += 3) {
    grids.push_back({values.data[i], values.data[i + 1], values.data[i + 2]});
  }
  return grids;
}

PositionRule ParseRule(const char* op, const std::string& name) {
  if (name == "engines") return PositionRule::kEngines;
  if (name == "transformers5") return PositionRule::kTransformers5;
  Fail(op, "engines or transformers5 for positionRule", "'" + name + "'");
}

Napi::Value Result(Napi::Env env, Napi::Float32Array positions, double delta) {
  auto result = Napi::Object::New(env);
  result.Set("positions", positions);
  result.Set("delta", delta);
  return result;
}

Napi::Value RopeIndex(const Napi::CallbackInfo& info) {
  const Args args("ropeIndexQwenVL", info);
  const auto ids = args.TypedArray<int32_t>(0, "ids");
  const Options options = args.Options(1);
  QwenVLRopeOptions rope{};
  rope.image_token_id = options.Int("imageTokenId");
  rope.video_token_id = options.Int("videoTokenId");
  rope.merge_size = options.Int("mergeSize");
  rope.tokens_per_second = options.Number("tokensPerSecond");
  rope.images = ReadGrids(options, args.op(), "imageGrids");
  rope.videos = ReadGrids(options, args.op(), "videoGrids");
  const auto seconds = options.TypedArray<double>("secondPerGrid");
  rope.second_per_grid.assign(seconds.data, seconds.data + seconds.size);
  rope.rule = ParseRule(args.op(), options.Text("positionRule"));

  auto positions = Napi::Float32Array::New(args.env(), 3 * ids.size);
  const int64_t delta = RopeIndexQwenVL(ids.data, static_cast<int64_t>(ids.size), rope, positions.Data());
  return Result(args.env(), positions, static_cast<double>(delta));
}

OmniRule ParseOmniRule(const char* op, const std::string& name) {
  if (name == "qwen2_5_omni") return OmniRule::kQwen2_5Omni;
  if (name == "qwen3_omni") return OmniRule::kQwen3Omni;
  Fail(op, "qwen2_5_omni or qwen3_omni for rule", "'" + name + "'");
}

Napi::Value RopeIndexOfOmni(const Napi::CallbackInfo& info) {
  const Args args("ropeIndexOmni", info);
  const auto ids = args.TypedArray<int32_t>(0, "ids");
  const Options options = args.Options(1);
  OmniRopeOptions rope{};
  rope.image_token_id = options.Int("imageTokenId");
  rope.video_token_id = options.Int("videoTokenId");
  rope.audio_token_id = options.Int("audioTokenId");
  rope.vision_start_token_id = options.Int("visionStartTokenId");
  rope.audio_start_token_id = options.Int("audioStartTokenId");
  rope.merge_size = options.Int("mergeSize");
  rope.positions_per_second = options.Number("positionsPerSecond");
  rope.images = ReadGrids(options, args.op(), "imageGrids");
  rope.videos = ReadGrids(options, args.op(), "videoGrids");
  const auto seconds = options.TypedArray<double>("secondPerGrid");
  rope.second_per_grid.assign(seconds.data, seconds.data + seconds.size);
  rope.rule = ParseOmniRule(args.op(), options.Text("rule"));

  auto positions = Napi::Float32Array::New(args.env(), 3 * ids.size);
  const double delta = RopeIndexOmni(ids.data, static_cast<int64_t>(ids.size), rope, positions.Data());
  return Result(args.env(), positions, delta);
}

}  // namespace

void InitRopeIndex(Napi::Env, Napi::Object exports) {
  Export<RopeIndex>(exports, "ropeIndexQwenVL");
  Export<RopeIndexOfOmni>(exports, "ropeIndexOmni");
}

}  // namespace eyas
