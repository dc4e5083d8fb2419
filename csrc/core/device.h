#pragma once

#include <cstdint>

namespace eyas {

// Where memory lies. A process uses one GPU: the first that was asked for (core/cuda.h).
enum class Device : uint8_t { kCpu, kCuda };

const char* DeviceName(Device device);

}  // namespace eyas
