#include "core/optimizer.h"

#include <string>

#include "core/check.h"

namespace eyas {

namespace {

void ExpectCount(const std::string& name, const std::vector<Tensor>& tensors, size_t count) {
  if (tensors.size() != count) {
    Fail("adamW", std::to_string(count) + " tensors, one per parameter, for " + name,
         std::to_string(tensors.size()));
  }
}

// A contiguous tensor of the parameter's shape.
void ExpectLike(const char* list, size_t i, const Tensor& tensor, const Tensor& param) {
  const std::string name = std::string(list) + "[" + std::to_string(i) + "]";
  ExpectShape("adamW", name.c_str(), tensor, param.shape());
  ExpectContiguous("adamW", name.c_str(), tensor);
}

float* FloatsLike(const char* list, size_t i, const Tensor& tensor, const Tensor& param) {
  ExpectDType("adamW", (std::string(list) + "[" + std::to_string(i) + "]").c_str(), tensor, DType::kFloat32);
  ExpectLike(list, i, tensor, param);
  return tensor.data<float>();
}

}  // namespace

double GradNorm(const std::vector<Tensor>& grads) {
  std::vector<FloatArray> arrays;
  Device device = Device::kCpu;
  for (size_t i = 0; i < grads.size(); ++i) {
    const std::string name = "grads[" + std::to_string(i) + "]";
    ExpectDType("gradNorm", name.c_str(), grads[i], DType::kFloat32);
    ExpectContiguous("gradNorm", name.c_str(), grads[i]);
    BackendFor("gradNorm", {&grads[0], &grads[i]});
    device = grads[0].device();
    arrays.push_back({grads[i].data<float>(), grads[i].size()});
  }
  return BackendOf(device).EuclideanNorm(arrays);
}

void AdamW(const AdamWTensors& tensors, const AdamWStep& step) {
  const size_t count = tensors.params.size();
  ExpectCount("grads", tensors.grads, count);
  ExpectCount("m", tensors.m, count);
  ExpectCount("v", tensors.v, count);
  ExpectCount("compute", tensors.compute, count);
  if (step.step < 1) Fail("adamW", "1 or more for step", std::to_string(step.step));
  std::vector<AdamWTensor> arrays;
  Device device = Device::kCpu;
  for (size_t i = 0; i < count; ++i) {
    const Tensor& param = tensors.params[i];
    AdamWTensor array{FloatsLike("params", i, param, param),
                      FloatsLike("grads", i, tensors.grads[i], param),
                      FloatsLike("m", i, tensors.m[i], param),
                      FloatsLike("v", i, tensors.v[i], param),
                      nullptr,
                      nullptr,
                      param.size()};
    const Tensor& compute = tensors.compute[i];
    device = tensors.params[0].device();
    BackendFor("adamW",
               {&tensors.params[0], &param, &tensors.grads[i], &tensors.m[i], &tensors.v[i], &compute});
    if (compute.defined()) {
      const std::string name = "compute[" + std::to_string(i) + "]";
      ExpectFloating("adamW", name.c_str(), compute);
      ExpectLike("compute", i, compute, param);
      if (compute.dtype() == DType::kFloat32) {
        array.copy = compute.data<float>();
      } else {
        array.rounded_copy = compute.data<bfloat16>();
      }
    }
    arrays.push_back(array);
  }
  BackendOf(device).AdamW(arrays, step);
}

}  // namespace eyas
