#include "core/parallel.h"

#include <omp.h>

#include <atomic>

namespace eyas {

namespace {

std::atomic<int>& Count() {
  static std::atomic<int> count{omp_get_max_threads()};
  return count;
}

}  // namespace

int Threads() { return Count().load(std::memory_order_relaxed); }

void SetThreads(int count) { Count().store(count, std::memory_order_relaxed); }

void ApplyThreads() { omp_set_num_threads(Threads()); }

}  // namespace eyas
