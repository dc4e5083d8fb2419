#pragma once

#include <algorithm>
#include <cstdint>

namespace eyas {

// Threads that the kernels use; at first what OMP_NUM_THREADS or the machine says.
int Threads();
void SetThreads(int count);
// While it lives, kernels that the calling thread runs use at most `count` threads, and one at least.
class ThreadLimit {
 public:
  explicit ThreadLimit(int count);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};
// Makes oneDNN, which asks OpenMP, use Threads() on the calling thread.
void ApplyThreads();

// Called by each part of parallel work: threads of the team other than the caller's own leave signals to
// others, since the team is oneDNN's too (core/signals.h).
void EnterPart();

// Ends the team of the calling thread, which must be outside parallel work. Where more threads wait than
// there are processors, OpenMP lets all of them sleep at once, and each parallel loop of every thread waits
// for the scheduler: 60 µs in place of one.
void DismissTeam();

// Work, in scalar operations, below which starting threads costs more than it gains.
constexpr int64_t kParallelWork = 1 << 18;

// Number of parts that ParallelParts splits n items into: 1 when the work is small. It depends on n, the cost
// and Threads() alone, so that results that depend on the split are the same from run to run.
inline int64_t PartCount(int64_t n, int64_t cost) {
  const int64_t worth = std::max<int64_t>(1, n * std::max<int64_t>(1, cost) / (kParallelWork / 2));
  return std::max<int64_t>(1, std::min({static_cast<int64_t>(Threads()), worth, n}));
}

// Runs body(part, begin, end) over `parts` contiguous parts of 0 ≤ i < n, each on its own thread. The body
// must not throw. A kernel with EYAS_SIMD_CLONES belongs into a function of its own that the body calls: GCC
// compiles the body itself for the baseline instruction set only.
template <typename Body>
void ParallelParts(int64_t n, int64_t parts, const Body& body) {
  if (parts <= 1) {
    body(int64_t{0}, int64_t{0}, n);
    return;
  }
  const int threads = static_cast<int>(parts);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int64_t part = 0; part < parts; ++part) {
    EnterPart();
    body(part, n * part / parts, n * (part + 1) / parts);
  }
}

// Runs body(begin, end) over contiguous parts of 0 ≤ i < n; `cost` is the scalar operations per item.
template <typename Body>
void ParallelFor(int64_t n, int64_t cost, const Body& body) {
  ParallelParts(n, PartCount(n, cost), [&](int64_t, int64_t begin, int64_t end) { body(begin, end); });
}

}  // namespace eyas
