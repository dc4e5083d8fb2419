#include "core/parallel.h"

#include <omp.h>

#include <atomic>
#include <climits>

#include "core/signals.h"

namespace eyas {

namespace {

std::atomic<int>& Count() {
  static std::atomic<int> count{omp_get_max_threads()};
  return count;
}

thread_local int limit = INT_MAX;

}  // namespace

int Threads() { return std::min(limit, Count().load(std::memory_order_relaxed)); }

ThreadLimit::ThreadLimit(int count) : before_(limit) { limit = std::max(1, count); }

ThreadLimit::~ThreadLimit() { limit = before_; }

void SetThreads(int count) { Count().store(count, std::memory_order_relaxed); }

void EnterPart() {
  thread_local bool entered = false;
  if (entered || omp_get_thread_num() == 0) return;
  HoldSignals::Forever();
  entered = true;
}

void DismissTeam() { omp_pause_resource_all(omp_pause_soft); }

void ApplyThreads() { omp_set_num_threads(Threads()); }

}  // namespace eyas
