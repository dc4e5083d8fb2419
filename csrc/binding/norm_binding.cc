#include "binding/modules.h"

namespace eyas {

void InitNorm(Napi::Env, Napi::Object) {}

}  // namespace eyas
