#include "cpu/random.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"

namespace eyas::cpu {

namespace {

using Block = std::array<uint32_t, 4>;

// Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
Block Philox4x32(uint64_t counter, uint64_t seed) {
  Block x = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  uint32_t key0 = static_cast<uint32_t>(seed);
  uint32_t key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

// Two standard-normal values of two uniform words.
void BoxMuller(uint32_t a, uint32_t b, double* z) {
  constexpr double kTwoPi = 6.283185307179586;
  // Within (0, 1): the logarithm is finite.
  const double radius = std::sqrt(-2.0 * std::log((a + 0.5) * 0x1p-32));
  const double angle = kTwoPi * ((b + 0.5) * 0x1p-32);
  z[0] = radius * std::cos(angle);
  z[1] = radius * std::sin(angle);
}

}  // namespace

void RandomNormal(float* out, int64_t n, double std, uint64_t seed) {
  ParallelFor((n + 3) / 4, 200, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const Block words = Philox4x32(static_cast<uint64_t>(block), seed);
      double z[4];
      BoxMuller(words[0], words[1], z);
      BoxMuller(words[2], words[3], z + 2);
      const int64_t count = std::min<int64_t>(4, n - 4 * block);
      for (int64_t i = 0; i < count; ++i) out[4 * block + i] = static_cast<float>(std * z[i]);
    }
  });
}

}  // namespace eyas::cpu
