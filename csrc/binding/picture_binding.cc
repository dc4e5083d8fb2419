#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "binding/media_args.h"
#include "binding/modules.h"
#include "core/check.h"
#include "core/parallel.h"
#include "media/jpeg.h"
#include "media/picture.h"

namespace eyas {
namespace {

Picture ReadPicture(const char* op, const Options& options) {
  const Span<uint8_t> data = options.TypedArray<uint8_t>("data");
  const Picture picture{data.data, data.size, options.Int("height"), options.Int("width"),
                        options.Bool("jpeg", false)};
  if (picture.jpeg) {
    ExpectSides(op, {picture.height, picture.width});
  } else {
    ExpectPixels(op, data, {picture.height, picture.width, 3});
  }
  return picture;
}

View ReadView(const char* op, const Options& options, bool has_previous) {
  View view{};
  view.height = options.Int("height");
  view.width = options.Int("width");
  ExpectSides(op, {view.height, view.width});
  view.filter = ParseFilter(op, options.Text("filter"));
  view.of_previous = options.Bool("ofPrevious", false);
  if (view.of_previous && !has_previous) Fail(op, "a view before one of the previous", "none");
  view.square = options.Int("square", 0);
  view.tile = options.Int("tile", 0);
  if (view.square != 0 && (view.square < std::max(view.height, view.width) || view.square > kMaxSide)) {
    Fail(op, "a square that holds " + Dims({view.height, view.width}).ToString(),
         std::to_string(view.square));
  }
  if (view.tile < 0) Fail(op, "a positive tile", std::to_string(view.tile));
  if (view.square == 0) return view;
  const std::vector<int64_t> background = options.Ints("background");
  if (background.size() != 3) Fail(op, "3 numbers for background", std::to_string(background.size()));
  for (size_t c = 0; c < 3; ++c) {
    if (background[c] < 0 || background[c] > 255) {
      Fail(op, "bytes for background", std::to_string(background[c]));
    }
    view.background[c] = static_cast<uint8_t>(background[c]);
  }
  return view;
}

// Work on one picture off the JavaScript thread. The promise gives what Result makes of the buffer, or
// undefined where the JPEG is irregular.
class PictureJob : public Napi::AsyncWorker {
 public:
  // `source` is the object that the picture was read from.
  PictureJob(Napi::Env env, const Napi::Value& source, const Picture& picture, int64_t bytes)
      : Napi::AsyncWorker(env),
        promise_(env),
        data_(Napi::Persistent(source.As<Napi::Object>().Get("data").As<Napi::Object>())),
        bytes_(bytes),
        picture_(picture) {}

  // Starts the job, which deletes itself in the end.
  static Napi::Value Start(std::unique_ptr<PictureJob> job) {
    const Napi::Promise promise = job->promise_.Promise();
    job.release()->Queue();
    return promise;
  }

  void Execute() override {
    buffer_ = PixelBuffer(bytes_);
    if (!Work(picture_, buffer_)) buffer_ = PixelBuffer();
    DismissTeam();
  }
  void OnOK() override {
    promise_.Resolve(buffer_.data() == nullptr ? Env().Undefined() : Result(std::move(buffer_)));
  }
  void OnError(const Napi::Error& error) override { promise_.Reject(error.Value()); }

 protected:
  // False where the JPEG is irregular. Runs on another thread.
  virtual bool Work(const Picture& picture, PixelBuffer& out) const = 0;
  virtual Napi::Value Result(PixelBuffer&& buffer) const = 0;

 private:
  Napi::Promise::Deferred promise_;
  // Keeps the picture's memory.
  Napi::ObjectReference data_;
  int64_t bytes_;
  Picture picture_;
  PixelBuffer buffer_;
};

class RenderJob : public PictureJob {
 public:
  RenderJob(Napi::Env env, const Napi::Value& source, const Picture& picture, const View& view)
      : PictureJob(env, source, picture, view.out_height() * view.out_width() * 3), view_(view) {}

 protected:
  bool Work(const Picture& picture, PixelBuffer& out) const override {
    return RenderPicture(picture, view_, out.data());
  }
  Napi::Value Result(PixelBuffer&& buffer) const override { return ToUint8Array(Env(), std::move(buffer)); }

 private:
  View view_;
};

class PatchJob : public PictureJob {
 public:
  PatchJob(Napi::Env env, const Napi::Value& source, const Picture& picture, std::vector<PatchedView> views,
           int64_t values)
      : PictureJob(env, source, picture, values * sizeof(float)), views_(std::move(views)) {}

 protected:
  bool Work(const Picture& picture, PixelBuffer& out) const override {
    return PatchPicture(picture, views_, reinterpret_cast<float*>(out.data()));
  }
  Napi::Value Result(PixelBuffer&& buffer) const override { return ToFloat32Array(Env(), std::move(buffer)); }

 private:
  std::vector<PatchedView> views_;
};

Napi::Value JpegSize(const Napi::CallbackInfo& info) {
  const Args args("jpegSize", info);
  const auto data = args.TypedArray<uint8_t>(0, "data");
  const auto header = ReadJpegHeader(data.data, data.size);
  if (!header) return args.env().Undefined();
  auto size = Napi::Object::New(args.env());
  size.Set("height", static_cast<double>(header->height));
  size.Set("width", static_cast<double>(header->width));
  return size;
}

Napi::Value StartRender(const Napi::CallbackInfo& info) {
  const Args args("renderPicture", info);
  const Picture picture = ReadPicture(args.op(), args.Options(0, "picture"));
  const View view = ReadView(args.op(), args.Options(1, "view"), false);
  return PictureJob::Start(std::make_unique<RenderJob>(args.env(), info[0], picture, view));
}

Napi::Value StartPatch(const Napi::CallbackInfo& info) {
  const Args args("patchPicture", info);
  const Picture picture = ReadPicture(args.op(), args.Options(0, "picture"));
  std::vector<PatchedView> views;
  int64_t values = 0;
  for (const Options& options : args.Options(1).List("views")) {
    const View view = ReadView(args.op(), options, !views.empty());
    views.push_back({view, ReadPatchOptions(args.op(), options)});
    values += PatchedSize(views.back());
  }
  if (views.empty()) Fail(args.op(), "at least one view", "none");
  return PictureJob::Start(
      std::make_unique<PatchJob>(args.env(), info[0], picture, std::move(views), values));
}

}  // namespace

void InitPicture(Napi::Env, Napi::Object exports) {
  Export<JpegSize>(exports, "jpegSize");
  Export<StartRender>(exports, "renderPicture");
  Export<StartPatch>(exports, "patchPicture");
}

}  // namespace eyas
