#include "binding/modules.h"

namespace eyas {

void InitRows(Napi::Env, Napi::Object) {}

}  // namespace eyas
