#include "core/cuda.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

#include "core/cuda_library.h"

namespace eyas {

namespace {

// Where the addon lies, with a slash at the end.
std::string OwnFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&OwnFolder), &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

// The functions of the library, or why there are none.
struct Library {
  CudaDevicesFunction* devices = nullptr;
  CudaOpenFunction* open = nullptr;
  std::string reason;
};

const Library& GetLibrary() {
  static const Library library = [] {
    Library out;
    const char* named = std::getenv("EYAS_CUDA_BACKEND");
    const std::string path = named != nullptr ? named : OwnFolder() + "libeyas_cuda.so";
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      out.reason = dlerror();
      return out;
    }
    const auto abi = reinterpret_cast<CudaAbiFunction*>(dlsym(handle, "eyas_cuda_abi"));
    if (abi == nullptr || abi() != kCudaAbi) {
      out.reason = path + ": expected a library built with this addon, received another version";
      return out;
    }
    out.devices = reinterpret_cast<CudaDevicesFunction*>(dlsym(handle, "eyas_cuda_devices"));
    out.open = reinterpret_cast<CudaOpenFunction*>(dlsym(handle, "eyas_cuda_open"));
    return out;
  }();
  return library;
}

struct Taken {
  std::mutex mutex;
  int index = -1;
  Backend* backend = nullptr;
};

Taken& GetTaken() {
  static auto* taken = new Taken();
  return *taken;
}

}  // namespace

std::vector<CudaDevice> CudaDevices(std::string* reason) {
  const Library& library = GetLibrary();
  std::vector<CudaDevice> out;
  if (library.devices == nullptr) {
    if (reason != nullptr) *reason = library.reason;
    return out;
  }
  std::array<CudaDeviceRecord, 64> records;
  std::array<char, 4096> error{};
  const int count =
      library.devices(records.data(), static_cast<int>(records.size()), error.data(), error.size());
  if (reason != nullptr) *reason = error.data();
  for (int i = 0; i < count; ++i) {
    out.push_back({records[i].name, records[i].major, records[i].minor, records[i].bytes});
  }
  return out;
}

void OpenCuda(int index) {
  Taken& taken = GetTaken();
  const std::lock_guard<std::mutex> lock(taken.mutex);
  if (taken.backend != nullptr) {
    if (taken.index == index) return;
    throw std::runtime_error("[setDevice] expected cuda:" + std::to_string(taken.index) +
                             ", which this process uses, received cuda:" + std::to_string(index));
  }
  std::string reason;
  const std::vector<CudaDevice> devices = CudaDevices(&reason);
  if (index < 0 || index >= static_cast<int>(devices.size())) {
    const std::string have =
        devices.empty() ? "no CUDA device: " + reason : std::to_string(devices.size()) + " CUDA devices";
    throw std::runtime_error("[setDevice] expected a device for cuda:" + std::to_string(index) +
                             ", received " + have);
  }
  std::array<char, 4096> error{};
  taken.backend = GetLibrary().open(index, error.data(), error.size());
  if (taken.backend == nullptr) {
    throw std::runtime_error("[setDevice] cuda:" + std::to_string(index) + ": " + error.data());
  }
  taken.index = index;
}

Backend& CudaBackend() {
  Backend* backend = GetTaken().backend;
  if (backend == nullptr) throw std::logic_error("[cuda] expected a device that was opened, received none");
  return *backend;
}

}  // namespace eyas
