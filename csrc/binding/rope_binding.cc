#include "binding/modules.h"

namespace eyas {

void InitRope(Napi::Env, Napi::Object) {}

}  // namespace eyas
