#include "cuda/cublaslt.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace eyas::cuda {

namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

// Folders, some of them patterns, in the order in which they are searched.
std::vector<std::string> Folders() {
  std::vector<std::string> folders;
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  // A list, as in LD_LIBRARY_PATH.
  std::istringstream named(variable("EYAS_CUDA_LIBRARY_PATH"));
  for (std::string folder; std::getline(named, folder, ':');) {
    if (!folder.empty()) folders.push_back(folder);
  }
  // What the loader knows.
  folders.emplace_back();
  for (const char* root : {"CUDA_HOME", "CUDA_PATH"}) {
    if (!variable(root).empty()) folders.push_back(variable(root) + "/lib64");
  }
  folders.emplace_back("/usr/local/cuda/lib64");
  folders.emplace_back("/usr/local/cuda-*/lib64");
  // Wheels of Python: CUDA's own, and PyTorch's.
  for (const std::string& root :
       {variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), variable("HOME") + "/.local",
        std::string("/usr/local"), std::string("/usr"), std::string("/opt/*")}) {
    if (root.empty()) continue;
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const std::string base = root + "/lib/python3*/" + packages;
      folders.push_back(base + "/nvidia/*/lib");
      folders.push_back(base + "/torch/lib");
    }
  }
  if (!variable("CONDA_PREFIX").empty()) folders.push_back(variable("CONDA_PREFIX") + "/lib");
  return folders;
}

std::vector<std::string> Matches(const std::string& pattern) {
  std::vector<std::string> out;
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    out.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return out;
}

void* Open() {
  std::string searched;
  for (const std::string& folder : Folders()) {
    for (const char* name : kNames) {
      if (folder.empty()) {
        if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
        continue;
      }
      for (const std::string& path : Matches(folder + "/" + name)) {
        if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
        searched += "\n  " + path + ": " + dlerror();
      }
    }
    if (!folder.empty()) searched += "\n  " + folder;
  }
  throw std::runtime_error(
      "[cuda] expected cuBLASLt (libcublasLt.so.13 or .12), which CUDA and PyTorch bring; name its folder in "
      "EYAS_CUDA_LIBRARY_PATH. Received none in:" +
      searched);
}

}  // namespace

const LtFunctions& CublasLt() {
  static const LtFunctions functions = [] {
    void* library = Open();
    LtFunctions out;
    const auto load = [&](auto& function, const char* name) {
      void* symbol = dlsym(library, name);
      if (symbol == nullptr) throw std::runtime_error(std::string("[cuda] cuBLASLt has no ") + name);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
    };
    load(out.create, "cublasLtCreate");
    load(out.matmul_desc_create, "cublasLtMatmulDescCreate");
    load(out.matmul_desc_destroy, "cublasLtMatmulDescDestroy");
    load(out.matmul_desc_set, "cublasLtMatmulDescSetAttribute");
    load(out.layout_create, "cublasLtMatrixLayoutCreate");
    load(out.layout_destroy, "cublasLtMatrixLayoutDestroy");
    load(out.preference_create, "cublasLtMatmulPreferenceCreate");
    load(out.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    load(out.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    load(out.heuristic, "cublasLtMatmulAlgoGetHeuristic");
    load(out.matmul, "cublasLtMatmul");
    return out;
  }();
  return functions;
}

}  // namespace eyas::cuda
