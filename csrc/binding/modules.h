#pragma once

#include "binding/napi_setup.h"

namespace eyas {

// Each adds the functions of one area of lib/native.ts; csrc/binding/<area>_binding.cc.
void InitTensor(Napi::Env env, Napi::Object exports);
void InitMatmul(Napi::Env env, Napi::Object exports);
void InitMoe(Napi::Env env, Napi::Object exports);
void InitRows(Napi::Env env, Napi::Object exports);
void InitElementwise(Napi::Env env, Napi::Object exports);
void InitNorm(Napi::Env env, Napi::Object exports);
void InitRope(Napi::Env env, Napi::Object exports);
void InitAttention(Napi::Env env, Napi::Object exports);
void InitVocabulary(Napi::Env env, Napi::Object exports);
void InitDecoding(Napi::Env env, Napi::Object exports);
void InitOptimizer(Napi::Env env, Napi::Object exports);
void InitMedia(Napi::Env env, Napi::Object exports);
void InitPicture(Napi::Env env, Napi::Object exports);
void InitRopeIndex(Napi::Env env, Napi::Object exports);

}  // namespace eyas
