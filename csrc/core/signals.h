#pragma once

#include <csignal>

namespace eyas {

// While it lives, signals wait that would run a handler on the calling thread, and threads started in its
// scope never take one. The float32 kernels that oneDNN generates move the stack pointer into a heap buffer,
// so that a handler's frame, a child's exit or Ctrl-C being enough, overwrites the heap below it
// (https://github.com/uxlfoundation/oneDNN/issues/4845, repaired in 3.11.2).
class HoldSignals {
 public:
  HoldSignals() { Block(&before_); }
  ~HoldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  HoldSignals(const HoldSignals&) = delete;
  HoldSignals& operator=(const HoldSignals&) = delete;

  // The same for the rest of the calling thread's life.
  static void Forever() { Block(nullptr); }

 private:
  static void Block(sigset_t* before) {
    sigset_t all;
    sigfillset(&all);
    // Faults are the thread's own: held, they would end the process without a word.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, before);
  }

  sigset_t before_;
};

}  // namespace eyas
