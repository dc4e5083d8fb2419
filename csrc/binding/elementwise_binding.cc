#include "binding/modules.h"

namespace eyas {

void InitElementwise(Napi::Env, Napi::Object) {}

}  // namespace eyas
