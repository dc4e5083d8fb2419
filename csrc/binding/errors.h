#pragma once

#include <exception>
#include <stdexcept>

#include "binding/napi_setup.h"

namespace eyas {

// The one place where C++ exceptions become JavaScript errors: std::invalid_argument is a TypeError,
// std::out_of_range a RangeError, anything else an Error. JavaScript errors pass.
template <typename Body>
auto Guard(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::invalid_argument& error) {
    throw Napi::TypeError::New(env, error.what());
  } catch (const std::out_of_range& error) {
    throw Napi::RangeError::New(env, error.what());
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, error.what());
  }
}

// A function of the module, as Napi::Function::New and Export take it.
template <Napi::Value (*fn)(const Napi::CallbackInfo&)>
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&] { return fn(info); });
}

// Export<Matmul>(exports, "matmul"): every exported function is guarded.
template <Napi::Value (*fn)(const Napi::CallbackInfo&)>
void Export(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Guarded<fn>>(exports.Env(), name));
}

}  // namespace eyas
