#include "core/attention.h"

#include <cmath>
#include <string>

#include "core/check.h"
#include "core/ops.h"
#include "cpu/attention.h"

namespace eyas {

namespace {

// float32 [rows, heads, D] of which each row is contiguous; -1 matches any size.
void ExpectRows(const char* op, const char* name, const Tensor& x, const Dims& shape) {
  ExpectDType(op, name, x, DType::kFloat32);
  ExpectShape(op, name, x, shape);
  if (!x.ContiguousFrom(2)) {
    Fail(op, std::string("contiguous heads and features for ") + name,
         x.ToString() + " with strides " + x.strides().ToString());
  }
}

void ExpectIndices(const char* op, const char* name, const Tensor& x, int64_t n, int64_t largest) {
  ExpectDType(op, name, x, DType::kInt32);
  ExpectShape(op, name, x, {n});
  ExpectContiguous(op, name, x);
  // Without a mirror they were made on the device, and to look at them would be to wait for it.
  const auto* data = static_cast<const int32_t*>(x.host());
  for (int64_t i = 0; data != nullptr && i < n; ++i) {
    if (data[i] < 0 || data[i] > largest) {
      Fail(op, "0 to " + std::to_string(largest) + " for " + name + "[" + std::to_string(i) + "]",
           std::to_string(data[i]));
    }
  }
}

// The same on the CPU, where alone the definition is computed.
AttentionArguments OnHost(AttentionArguments arguments) {
  const auto move = [](Tensor& tensor) { tensor = ToDevice(tensor, Device::kCpu); };
  for (Tensor* tensor : {&arguments.q, &arguments.k, &arguments.v, &arguments.begin, &arguments.end})
    move(*tensor);
  for (ExtraKeys& extra : arguments.options.extras) {
    for (Tensor* tensor : {&extra.k, &extra.v, &extra.rows}) move(*tensor);
  }
  arguments.options.out = Tensor();
  return arguments;
}

AttentionInput Check(const char* op, const AttentionArguments& arguments) {
  const auto& [q, k, v, begin, end, options] = arguments;
  Backend& backend = BackendFor(op, {&q, &k, &v, &begin, &end});
  ExpectRows(op, "q", q, {-1, -1, -1});
  const int64_t n = q.dim(0), heads = q.dim(1), d = q.dim(2);
  if (heads == 0 || d == 0) Fail(op, "heads and features in q", q.ToString());
  ExpectRows(op, "k", k, {-1, -1, d});
  const int64_t m = k.dim(0), kv_heads = k.dim(1);
  if (kv_heads == 0 || heads % kv_heads != 0) {
    Fail(op, "a number of key heads that divides the " + std::to_string(heads) + " heads of q", k.ToString());
  }
  ExpectRows(op, "v", v, {m, kv_heads, d});
  ExpectIndices(op, "begin", begin, n, m);
  ExpectIndices(op, "end", end, n, m);
  AttentionInput input;
  input.q = q.data<float>();
  input.q_stride = q.stride(0);
  input.k = k.data<float>();
  input.k_stride = k.stride(0);
  input.v = v.data<float>();
  input.v_stride = v.stride(0);
  input.begin = begin.data<int32_t>();
  input.end = end.data<int32_t>();
  input.n = n;
  input.m = m;
  input.heads = heads;
  input.kv_heads = kv_heads;
  input.head_dim = d;
  input.scale = static_cast<float>(options.scale.value_or(1.0 / std::sqrt(static_cast<double>(d))));
  // A few queries are not rounded in the forward pass: the gradient is that of what was computed.
  input.rounded = options.rounded && backend.MultipliesBFloat16() && n > cpu::kDecodeQueries;
  for (size_t e = 0; e < options.extras.size(); ++e) {
    const ExtraKeys& extra = options.extras[e];
    const std::string name = "extras[" + std::to_string(e) + "]";
    BackendFor(op, {&q, &extra.k, &extra.v, &extra.rows});
    ExpectRows(op, (name + ".k").c_str(), extra.k, {-1, kv_heads, d});
    const int64_t rows = extra.k.dim(0);
    ExpectRows(op, (name + ".v").c_str(), extra.v, {rows, kv_heads, d});
    ExpectIndices(op, (name + ".rows").c_str(), extra.rows, n, rows - 1);
    input.extras.push_back({extra.k.data<float>(), extra.k.stride(0), extra.v.data<float>(),
                            extra.v.stride(0), extra.rows.data<int32_t>(), rows});
  }
  return input;
}

}  // namespace

AttentionResult Attention(const AttentionArguments& arguments) {
  const AttentionInput input = Check("attention", arguments);
  if (arguments.options.plain && arguments.q.device() != Device::kCpu) {
    const AttentionResult host = Attention(OnHost(arguments));
    return {ToDevice(host.out, arguments.q.device()), ToDevice(host.lse, arguments.q.device())};
  }
  const Device device = arguments.q.device();
  AttentionResult result{FloatsFor("attention", arguments.options.out, {input.n, input.heads, input.head_dim},
                                   {&arguments.q, &arguments.k, &arguments.v}),
                         Tensor({input.n, input.heads}, DType::kFloat32, device)};
  for (const ExtraKeys& extra : arguments.options.extras) {
    ExpectApart("attention", result.out, extra.k);
    ExpectApart("attention", result.out, extra.v);
  }
  const AttentionOutput output{result.out.data<float>(), result.lse.data<float>()};
  if (arguments.options.plain) {
    cpu::PlainAttention(input, output);
  } else {
    BackendOf(device).Attention(input, output);
  }
  return result;
}

AttentionGradients AttentionBackward(const Tensor& dout, const Tensor& out, const Tensor& lse,
                                     const AttentionArguments& arguments) {
  const char* op = "attentionBackward";
  const AttentionInput input = Check(op, arguments);
  if (arguments.options.plain && arguments.q.device() != Device::kCpu) {
    const auto host = [](const Tensor& tensor) { return ToDevice(tensor, Device::kCpu); };
    AttentionGradients gradients = AttentionBackward(host(dout), host(out), host(lse), OnHost(arguments));
    const auto back = [&](Tensor& tensor) { tensor = ToDevice(tensor, arguments.q.device()); };
    for (Tensor* tensor : {&gradients.dq, &gradients.dk, &gradients.dv}) back(*tensor);
    for (AttentionGradients::Extra& extra : gradients.extras) {
      back(extra.dk);
      back(extra.dv);
    }
    return gradients;
  }
  const Dims shape{input.n, input.heads, input.head_dim};
  ExpectRows(op, "dout", dout, shape);
  ExpectRows(op, "out", out, shape);
  ExpectContiguous(op, "out", out);
  ExpectDType(op, "lse", lse, DType::kFloat32);
  ExpectShape(op, "lse", lse, {input.n, input.heads});
  ExpectContiguous(op, "lse", lse);
  const Device device = arguments.q.device();
  BackendFor(op, {&dout, &out, &lse, &arguments.q});
  const auto like = [&](const Tensor& x) { return Tensor(x.shape(), DType::kFloat32, device); };
  AttentionGradients result{like(arguments.q), like(arguments.k), like(arguments.v), {}};
  AttentionGradientArrays gradients{
      result.dq.data<float>(), result.dk.data<float>(), result.dv.data<float>(), {}};
  for (const ExtraKeys& extra : arguments.options.extras) {
    result.extras.push_back({like(extra.k), like(extra.v)});
    gradients.extras.push_back(
        {result.extras.back().dk.data<float>(), result.extras.back().dv.data<float>()});
  }
  const AttentionBackwardInput backward{dout.data<float>(), dout.stride(0), out.data<float>(),
                                        lse.data<float>()};
  if (arguments.options.plain) {
    cpu::PlainAttentionBackward(input, backward, gradients);
  } else {
    BackendOf(device).AttentionBackward(input, backward, gradients);
  }
  return result;
}

}  // namespace eyas
