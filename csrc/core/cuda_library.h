#pragma once

#include <cstddef>
#include <cstdint>

#include "core/backend.h"

// What the library of CUDA kernels exports, with C names. It is built with the addon, by the same compiler:
// classes cross the boundary as they are.

namespace eyas {

// Changes with Backend and everything that it names.
constexpr int kCudaAbi = 1;

struct CudaDeviceRecord {
  char name[256];
  int major;
  int minor;
  int64_t bytes;
};

// eyas_cuda_abi: kCudaAbi when the library was built.
using CudaAbiFunction = int();
// eyas_cuda_devices: fills up to `most` records and returns their number; without any, `error` says why.
using CudaDevicesFunction = int(CudaDeviceRecord* records, int most, char* error, size_t error_bytes);
// eyas_cuda_open: the backend of a device, which lives to the end of the process, or nullptr and why.
using CudaOpenFunction = Backend*(int index, char* error, size_t error_bytes);

}  // namespace eyas
