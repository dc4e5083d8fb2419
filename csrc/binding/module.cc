#include "binding/modules.h"
#include "binding/tensor_wrap.h"

namespace eyas {

namespace {

// Runs once for every environment (main thread, worker threads) that loads the addon.
Napi::Object Init(Napi::Env env, Napi::Object exports) {
  TensorWrap::Init(env, exports);
  InitTensor(env, exports);
  InitMatmul(env, exports);
  InitMoe(env, exports);
  InitRows(env, exports);
  InitElementwise(env, exports);
  InitNorm(env, exports);
  InitRope(env, exports);
  InitAttention(env, exports);
  InitVocabulary(env, exports);
  InitDecoding(env, exports);
  InitOptimizer(env, exports);
  InitMedia(env, exports);
  InitPicture(env, exports);
  InitRopeIndex(env, exports);
  return exports;
}

NODE_API_MODULE(eyas, Init)

}  // namespace

}  // namespace eyas
