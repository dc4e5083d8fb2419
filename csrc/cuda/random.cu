#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eyas::cuda {

namespace {

// Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
__device__ __forceinline__ uint4 Philox4x32(uint64_t counter, uint64_t seed) {
  uint4 x = make_uint4(static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0);
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t a_low = 0xD2511F53u * x.x, a_high = __umulhi(0xD2511F53u, x.x);
    const uint32_t b_low = 0xCD9E8D57u * x.z, b_high = __umulhi(0xCD9E8D57u, x.z);
    x = make_uint4(b_high ^ x.y ^ key0, b_low, a_high ^ x.w ^ key1, a_low);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

// Two standard-normal values of two uniform words.
__device__ __forceinline__ void BoxMuller(uint32_t a, uint32_t b, double* z) {
  constexpr double kTwoPi = 6.283185307179586, kUnit = 1.0 / 4294967296.0;
  // Within (0, 1): the logarithm is finite.
  const double radius = sqrt(-2.0 * log((a + 0.5) * kUnit));
  const double angle = kTwoPi * ((b + 0.5) * kUnit);
  z[0] = radius * cos(angle);
  z[1] = radius * sin(angle);
}

__global__ void RandomNormalKernel(float* out, int64_t n, double std, uint64_t seed) {
  const int64_t blocks = (n + 3) / 4, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < blocks; i += step) {
    const uint4 words = Philox4x32(static_cast<uint64_t>(i), seed);
    double z[4];
    BoxMuller(words.x, words.y, z);
    BoxMuller(words.z, words.w, z + 2);
    for (int j = 0; j < 4; ++j) {
      if (4 * i + j < n) out[4 * i + j] = static_cast<float>(std * z[j]);
    }
  }
}

}  // namespace

void RandomNormal(float* out, int64_t n, double std, uint64_t seed) {
  Launch(ForElements(CeilDiv(n, 4)), RandomNormalKernel, out, n, std, seed);
}

}  // namespace eyas::cuda
