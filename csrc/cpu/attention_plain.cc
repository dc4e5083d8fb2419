#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/attention.h"

namespace eyas::cpu {

namespace {

// One key that a query sees: its vectors and, in a backward pass, where their gradients are summed.
struct SeenKey {
  const float* k;
  const float* v;
  double* dk;
  double* dv;
};

// Float64 sums of the gradients that several queries share.
struct KeyGradients {
  std::vector<double> dk, dv;

  void Resize(int64_t size) {
    dk.assign(size, 0.0);
    dv.assign(size, 0.0);
  }
  void Round(float* dk_out, float* dv_out) const {
    std::copy(dk.begin(), dk.end(), dk_out);
    std::copy(dv.begin(), dv.end(), dv_out);
  }
};

// The keys of query i and key-value head h; `sums` (range first, then extras) is null in a forward pass.
std::vector<SeenKey> KeysOf(const AttentionInput& in, int64_t i, int64_t h, std::vector<KeyGradients>* sums) {
  std::vector<SeenKey> seen;
  const int64_t d = in.head_dim;
  const auto add = [&](const float* k, int64_t k_stride, const float* v, int64_t v_stride, int64_t row,
                       size_t sum) {
    const int64_t at = (row * in.kv_heads + h) * d;
    seen.push_back({k + row * k_stride + h * d, v + row * v_stride + h * d,
                    sums ? (*sums)[sum].dk.data() + at : nullptr,
                    sums ? (*sums)[sum].dv.data() + at : nullptr});
  };
  for (int64_t j = in.begin[i]; j < in.end[i]; ++j) add(in.k, in.k_stride, in.v, in.v_stride, j, 0);
  for (size_t e = 0; e < in.extras.size(); ++e) {
    const AttentionExtra& extra = in.extras[e];
    add(extra.k, extra.k_stride, extra.v, extra.v_stride, extra.rows[i], e + 1);
  }
  return seen;
}

double Dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

void PlainAttention(const AttentionInput& in, const AttentionOutput& output) {
  const int64_t d = in.head_dim;
  std::vector<double> scores, sum(d);
  for (int64_t i = 0; i < in.n; ++i) {
    for (int64_t head = 0; head < in.heads; ++head) {
      const float* q = in.q + i * in.q_stride + head * d;
      const std::vector<SeenKey> seen = KeysOf(in, i, head / in.group(), nullptr);
      double largest = -std::numeric_limits<double>::infinity();
      scores.resize(seen.size());
      for (size_t j = 0; j < seen.size(); ++j) {
        scores[j] = in.scale * Dot(q, seen[j].k, d);
        largest = std::max(largest, scores[j]);
      }
      double total = 0;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (size_t j = 0; j < seen.size(); ++j) {
        const double p = std::exp(scores[j] - largest);
        total += p;
        for (int64_t c = 0; c < d; ++c) sum[c] += p * seen[j].v[c];
      }
      float* out = output.out + (i * in.heads + head) * d;
      for (int64_t c = 0; c < d; ++c) out[c] = seen.empty() ? 0.0f : static_cast<float>(sum[c] / total);
      output.lse[i * in.heads + head] = static_cast<float>(largest + std::log(total));
    }
  }
}

void PlainAttentionBackward(const AttentionInput& in, const AttentionBackwardInput& back,
                            const AttentionGradientArrays& gradients) {
  const int64_t d = in.head_dim;
  std::vector<KeyGradients> sums(1 + in.extras.size());
  sums[0].Resize(in.m * in.kv_heads * d);
  for (size_t e = 0; e < in.extras.size(); ++e) sums[e + 1].Resize(in.extras[e].m * in.kv_heads * d);
  std::vector<double> dq(d);
  for (int64_t i = 0; i < in.n; ++i) {
    for (int64_t head = 0; head < in.heads; ++head) {
      const float* q = in.q + i * in.q_stride + head * d;
      const float* dout = back.dout + i * back.dout_stride + head * d;
      const double lse = back.lse[i * in.heads + head];
      const double delta = Dot(dout, back.out + (i * in.heads + head) * d, d);
      std::fill(dq.begin(), dq.end(), 0.0);
      for (const SeenKey& key : KeysOf(in, i, head / in.group(), &sums)) {
        const double p = std::exp(in.scale * Dot(q, key.k, d) - lse);
        const double ds = p * (Dot(dout, key.v, d) - delta) * in.scale;
        for (int64_t c = 0; c < d; ++c) {
          dq[c] += ds * key.k[c];
          key.dk[c] += ds * q[c];
          key.dv[c] += p * dout[c];
        }
      }
      std::copy(dq.begin(), dq.end(), gradients.dq + (i * in.heads + head) * d);
    }
  }
  sums[0].Round(gradients.dk, gradients.dv);
  for (size_t e = 0; e < in.extras.size(); ++e)
    sums[e + 1].Round(gradients.extras[e].dk, gradients.extras[e].dv);
}

}  // namespace eyas::cpu
