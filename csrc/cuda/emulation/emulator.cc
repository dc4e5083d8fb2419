#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "cuda/emulation/cuda_runtime.h"

// Saves the callee's registers on the stack that is left, and goes on with another.
extern "C" void eyas_switch_stack(void** from, void* to);
#if !defined(__x86_64__)
#error "The emulator switches stacks of x86-64 only."
#endif
asm(R"(
.text
.globl eyas_switch_stack
.hidden eyas_switch_stack
.type eyas_switch_stack, @function
eyas_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size eyas_switch_stack, . - eyas_switch_stack
)");

namespace eyas::emulation {

ThreadContext* current = nullptr;

namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "emulated CUDA: %s\n", what.c_str());
  std::abort();
}

// ---- device memory: nobody may touch it but the work of a stream

class Memory {
 public:
  static Memory& Get() {
    static auto* memory = new Memory();
    return *memory;
  }

  void* Allocate(size_t bytes) {
    bytes = std::max<size_t>(256, (bytes + 255) / 256 * 256);
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
      if (hole->second < bytes) continue;
      const size_t offset = hole->first, left = hole->second - bytes;
      holes_.erase(hole);
      if (left > 0) holes_[offset + bytes] = left;
      blocks_[offset] = bytes;
      used_end_ = std::max(used_end_, offset + bytes);
      Poison(base_ + offset, bytes);
      return base_ + offset;
    }
    return nullptr;
  }

  void Free(void* block) {
    const size_t offset = static_cast<char*>(block) - base_;
    const auto found = blocks_.find(offset);
    if (found == blocks_.end()) Die("cudaFree of memory that was not allocated");
    size_t begin = offset, size = found->second;
    blocks_.erase(found);
    const auto next = holes_.find(begin + size);
    if (next != holes_.end()) {
      size += next->second;
      holes_.erase(next);
    }
    const auto after = holes_.lower_bound(begin);
    if (after != holes_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == begin) {
        begin = before->first;
        size += before->second;
        holes_.erase(before);
      }
    }
    holes_[begin] = size;
  }

  bool Has(const void* p) const {
    return static_cast<const char*>(p) >= base_ && static_cast<const char*>(p) < base_ + kBytes;
  }

  size_t Free() const {
    size_t free = 0;
    for (const auto& [offset, size] : holes_) free += size;
    return free;
  }

  void Open() {
    if (open_++ == 0) mprotect(base_, Opened(), PROT_READ | PROT_WRITE);
  }
  void Close() {
    if (--open_ == 0) mprotect(base_, Opened(), PROT_NONE);
  }

  static constexpr size_t kBytes = size_t{1} << 34;

 private:
  Memory() {
    base_ = static_cast<char*>(
        mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base_ == MAP_FAILED) Die("no address space");
    holes_[0] = kBytes;
  }

  size_t Opened() const { return std::max<size_t>(4096, (used_end_ + 4095) / 4096 * 4096); }

  // NaN in either type: what is read before it is written shows.
  void Poison(char* p, size_t bytes) {
    Open();
    std::memset(p, 0xff, std::min<size_t>(bytes, 1 << 20));
    Close();
  }

  char* base_;
  std::map<size_t, size_t> holes_;
  std::map<size_t, size_t> blocks_;
  size_t used_end_ = 0;
  int open_ = 0;
};

// ---- fibers

// Goes on from grid to grid: two runs of the same work differ where the order of threads or blocks matters.
std::minstd_rand random_order{1};

// What a block can have.
size_t SharedBytes() {
  static const size_t bytes = [] {
    const char* given = std::getenv("EYAS_EMULATED_SHARED_BYTES");
    return given == nullptr ? size_t{227 * 1024} : static_cast<size_t>(std::strtoull(given, nullptr, 10));
  }();
  return bytes;
}

constexpr size_t kStackBytes = 256 << 10;

enum class State { kReady, kAtBlockBarrier, kAtExchange, kDone };

struct CopyGroup {
  struct Copy {
    void* to;
    std::vector<char> bytes;
  };
  std::vector<Copy> copies;
};

struct Fiber {
  ThreadContext context;
  State state = State::kReady;
  char* stack = nullptr;
  void* stack_pointer = nullptr;
  unsigned mask = 0;
  // Exchanges so far: two buffers take turns, for a lane can be one ahead of another.
  unsigned exchanges = 0;
  CopyGroup open_group;
  std::deque<CopyGroup> groups;
};

struct Warp {
  alignas(64) char buffers[2][kWarp * kExchangeBytes];
};

class BlockRunner {
 public:
  BlockRunner(const char* kernel, dim3 block, size_t shared_bytes, const std::function<void()>& body)
      : kernel_(kernel), block_(block), body_(body), threads_(block.x * block.y * block.z) {
    fibers_.resize(threads_);
    warps_.resize((threads_ + kWarp - 1) / kWarp);
    shared_.reset(static_cast<char*>(std::aligned_alloc(1024, (shared_bytes + 1024) / 1024 * 1024)));
    shared_bytes_ = shared_bytes;
  }

  void Run(dim3 grid, uint3 index) {
    std::memset(shared_.get(), 0xff, shared_bytes_);
    for (unsigned i = 0; i < threads_; ++i) {
      Fiber& fiber = fibers_[i];
      fiber.context = {{i % block_.x, i / block_.x % block_.y, i / (block_.x * block_.y)},
                       index,
                       block_,
                       grid,
                       shared_.get(),
                       static_cast<int>(i % kWarp)};
      fiber.state = State::kReady;
      fiber.exchanges = 0;
      fiber.stack_pointer = nullptr;
      fiber.groups.clear();
      fiber.open_group.copies.clear();
    }
    std::vector<unsigned> order(threads_);
    for (unsigned i = 0; i < threads_; ++i) order[i] = i;
    for (;;) {
      std::shuffle(order.begin(), order.end(), random_order);
      bool ran = false;
      for (const unsigned i : order) {
        if (fibers_[i].state != State::kReady) continue;
        Resume(fibers_[i]);
        ran = true;
      }
      if (!ran && !Release()) break;
    }
    for (const Fiber& fiber : fibers_) {
      if (fiber.state != State::kDone) {
        Die("deadlock in " + std::string(kernel_) + ": thread " + std::to_string(fiber.context.thread.x) +
            " of block " + std::to_string(index.x) + " waits for threads that do not come");
      }
    }
  }

  // Leaves the fiber that runs until what it waits for is there.
  void Wait(State state) {
    Fiber& fiber = *running_;
    fiber.state = state;
    eyas_switch_stack(&fiber.stack_pointer, scheduler_);
  }

  Fiber& running() { return *running_; }
  Warp& warp() { return warps_[(running_ - fibers_.data()) / kWarp]; }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };

  static void Enter() {
    BlockRunner& runner = *active_;
    runner.body_();
    Fiber& fiber = *runner.running_;
    if (!fiber.groups.empty()) WaitCopies(0);
    fiber.state = State::kDone;
    runner.stacks_.push_back(fiber.stack);
    fiber.stack = nullptr;
    void* nowhere;
    eyas_switch_stack(&nowhere, runner.scheduler_);
  }

  void Resume(Fiber& fiber) {
    if (fiber.stack_pointer == nullptr) {
      // A stack that another thread has left, or a new one; Enter is what the first switch returns to.
      if (stacks_.empty()) stacks_.push_back(NewStack());
      fiber.stack = stacks_.back();
      stacks_.pop_back();
      auto** top = reinterpret_cast<void**>(fiber.stack + kStackBytes);
      // A function finds its stack 8 bytes off 16: here lies where Enter would return to.
      *--top = nullptr;
      *--top = reinterpret_cast<void*>(&Enter);
      for (int i = 0; i < 6; ++i) *--top = nullptr;
      fiber.stack_pointer = top;
    }
    running_ = &fiber;
    active_ = this;
    current = &fiber.context;
    eyas_switch_stack(&scheduler_, fiber.stack_pointer);
  }

  static char* NewStack() {
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) Die("no memory for a thread's stack");
    return static_cast<char*>(stack);
  }

  // Lets those go on whose barrier is complete; false where there is none.
  bool Release() {
    bool released = false;
    bool all = true;
    for (const Fiber& fiber : fibers_) {
      all = all && (fiber.state == State::kAtBlockBarrier || fiber.state == State::kDone);
    }
    if (all) {
      for (Fiber& fiber : fibers_) {
        if (fiber.state != State::kAtBlockBarrier) continue;
        fiber.state = State::kReady;
        released = true;
      }
      return released;
    }
    for (size_t first = 0; first < fibers_.size(); first += kWarp) {
      const size_t count = std::min<size_t>(kWarp, fibers_.size() - first);
      for (size_t lane = 0; lane < count; ++lane) {
        Fiber& fiber = fibers_[first + lane];
        if (fiber.state != State::kAtExchange) continue;
        bool complete = true;
        for (size_t other = 0; other < count; ++other) {
          if (!(fiber.mask >> other & 1)) continue;
          const Fiber& partner = fibers_[first + other];
          complete = complete && partner.state == State::kAtExchange && partner.mask == fiber.mask &&
                     partner.exchanges == fiber.exchanges;
        }
        if (!complete) continue;
        for (size_t other = 0; other < count; ++other) {
          if (fiber.mask >> other & 1) fibers_[first + other].state = State::kReady;
        }
        released = true;
      }
    }
    return released;
  }

  const char* kernel_;
  dim3 block_;
  const std::function<void()>& body_;
  unsigned threads_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::unique_ptr<char[], Free> shared_;
  size_t shared_bytes_ = 0;
  Fiber* running_ = nullptr;
  void* scheduler_ = nullptr;

  // Stacks without a thread; kept for all grids.
  static inline std::vector<char*> stacks_;

 public:
  static inline BlockRunner* active_ = nullptr;
};

void Arrive(const CopyGroup& group) {
  for (const CopyGroup::Copy& copy : group.copies) std::memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
}

}  // namespace

void BlockBarrier() { BlockRunner::active_->Wait(State::kAtBlockBarrier); }

const char* Exchange(unsigned mask, const void* value, size_t bytes) {
  BlockRunner& runner = *BlockRunner::active_;
  Fiber& fiber = runner.running();
  char* buffer = runner.warp().buffers[fiber.exchanges++ % 2];
  std::memcpy(buffer + fiber.context.lane * kExchangeBytes, value, bytes);
  fiber.mask = mask;
  runner.Wait(State::kAtExchange);
  return buffer;
}

void DeferCopy(void* to, const void* from, size_t bytes, size_t zeros) {
  CopyGroup::Copy copy{to, std::vector<char>(bytes + zeros, 0)};
  if (bytes > 0) std::memcpy(copy.bytes.data(), from, bytes);
  BlockRunner::active_->running().open_group.copies.push_back(std::move(copy));
}

void CommitCopies() {
  Fiber& fiber = BlockRunner::active_->running();
  fiber.groups.push_back(std::move(fiber.open_group));
  fiber.open_group = {};
}

void WaitCopies(int pending) {
  Fiber& fiber = BlockRunner::active_->running();
  while (static_cast<int>(fiber.groups.size()) > pending) {
    Arrive(fiber.groups.front());
    fiber.groups.pop_front();
  }
}

bool IsDevice(const void* p) { return Memory::Get().Has(p); }

void RunGrid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes,
             const std::function<void()>& body) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
    Die(std::string(kernel) + ": grid of " + std::to_string(grid.x) + " × " + std::to_string(grid.y) + " × " +
        std::to_string(grid.z));
  }
  if (block.x * block.y * block.z == 0 || block.x * block.y * block.z > 1024)
    Die(std::string(kernel) + ": block");
  if (shared_bytes > SharedBytes()) Die(std::string(kernel) + ": shared memory");
  BlockRunner runner(kernel, block, shared_bytes, body);
  std::vector<uint3> blocks;
  blocks.reserve(static_cast<size_t>(grid.x) * grid.y * grid.z);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) blocks.push_back({x, y, z});
    }
  }
  std::shuffle(blocks.begin(), blocks.end(), random_order);
  for (const uint3& block : blocks) runner.Run(grid, block);
}

// ---- streams

namespace {

// One for all: streams wait for each other.
std::recursive_mutex& Lock() {
  static auto* mutex = new std::recursive_mutex();
  return *mutex;
}

class Stream final : public CUstream_st {
 public:
  void Enqueue(std::function<void()> work) override {
    const std::lock_guard<std::recursive_mutex> lock(Lock());
    queue_.push_back(std::move(work));
    ++enqueued_;
  }

  // Does the first `count` pieces of work.
  void DrainTo(uint64_t count) {
    const std::lock_guard<std::recursive_mutex> lock(Lock());
    if (done_ >= count) return;
    Memory::Get().Open();
    while (done_ < count) {
      const std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      ++done_;
      work();
    }
    Memory::Get().Close();
  }

  void Drain() { DrainTo(enqueued()); }
  uint64_t enqueued() const { return enqueued_; }
  uint64_t done() const { return done_; }

 private:
  std::deque<std::function<void()>> queue_;
  uint64_t enqueued_ = 0;
  uint64_t done_ = 0;
};

std::vector<Stream*>& Streams() {
  static auto* streams = new std::vector<Stream*>();
  return *streams;
}

Stream& Of(cudaStream_t stream) {
  if (stream == nullptr) Die("the default stream is not used here");
  return *static_cast<Stream*>(stream);
}

}  // namespace

}  // namespace eyas::emulation

using eyas::emulation::Memory;
using eyas::emulation::Stream;

struct CUevent_st {
  Stream* stream = nullptr;
  uint64_t position = 0;
};

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "Emulated");
  properties->totalGlobalMem = Memory::kBytes;
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->sharedMemPerBlockOptin = eyas::emulation::SharedBytes();
  // The driver keeps a kilobyte of each block.
  properties->sharedMemPerMultiprocessor = properties->sharedMemPerBlockOptin + 1024;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaMalloc(void** block, size_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  *block = Memory::Get().Allocate(bytes);
  return *block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFree(void* block) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  for (Stream* stream : eyas::emulation::Streams()) stream->Drain();
  if (block != nullptr) Memory::Get().Free(block);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** block, size_t bytes) {
  *block = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void* block) {
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  *free = Memory::Get().Free();
  *total = Memory::kBytes;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes > 0 &&
      (eyas::emulation::IsDevice(to) != to_device || eyas::emulation::IsDevice(from) != from_device)) {
    return cudaErrorInvalidValue;
  }
  eyas::emulation::Of(stream).Enqueue([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (bytes > 0 && !eyas::emulation::IsDevice(to)) return cudaErrorInvalidValue;
  eyas::emulation::Of(stream).Enqueue([=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  auto* made = new Stream();
  eyas::emulation::Streams().push_back(made);
  *stream = made;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  eyas::emulation::Of(stream).Drain();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Stream* other = event->stream;
  const uint64_t position = event->position;
  if (other != nullptr) eyas::emulation::Of(stream).Enqueue([=] { other->DrainTo(position); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  event->stream = &eyas::emulation::Of(stream);
  event->position = event->stream->enqueued();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream != nullptr) event->stream->DrainTo(event->position);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard<std::recursive_mutex> lock(eyas::emulation::Lock());
  return event->stream == nullptr || event->stream->done() >= event->position ? cudaSuccess
                                                                              : cudaErrorNotReady;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "not ready";
    default:
      return "invalid argument";
  }
}
