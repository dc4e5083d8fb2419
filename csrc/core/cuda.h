#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

// The library of CUDA kernels, which lies beside the addon and is opened when a GPU is first asked for.

namespace eyas {

struct CudaDevice {
  std::string name;
  int major;  // compute capability
  int minor;
  int64_t bytes;  // of memory
};

// The GPUs of this machine; empty where there is no library, no driver or no device. `reason`, if given,
// receives why.
std::vector<CudaDevice> CudaDevices(std::string* reason = nullptr);

// Takes GPU `index` for the rest of the process. Throws std::runtime_error where there is none, or where
// another one has been taken.
void OpenCuda(int index);

// The backend of the GPU that was taken.
Backend& CudaBackend();

}  // namespace eyas
