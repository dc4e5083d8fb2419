#pragma once

// The one place that includes napi.h; CMakeLists.txt sets its configuration macros.
#include <napi.h>
