#pragma once
/// \file
/// A CUDA grid on the CPU, for tests of kernels without a GPU: the compiler includes it before everything else
/// (-include). A block's
/// threads are coroutines that run one after the other up to the next barrier, blocks run one after the other. Every
/// kernel is run twice by tests that care: with the threads in order and in reverse order, so that a missing barrier
/// shows as a difference. Limits  one dimension of threads; __shared__ memory is static, so it is not fresh for every
/// block.

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <vector>

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace linden::cuda {

/// One block's threads.
class SimulatedBlock {
 public:
  enum class Waiting : char { no, for_warp, for_block, over };

  static inline bool reversed = false;  ///< the last thread goes first

  static SimulatedBlock& running() { return *current; }

  template <class Body>
  static void run(unsigned threads, const Body& body) {
    SimulatedBlock block(threads, body);
    current = &block;
    block.run_all();
    current = nullptr;
  }

  void wait(Waiting what) {
    Thread& self = threads_[threadIdx.x];
    self.waiting = what;
    self.scheduler = std::move(self.scheduler).resume();
  }

  /// What lane `from` of this warp gives.
  template <class V>
  V exchange(V given, unsigned from) {
    static_assert(sizeof(V) <= 8);
    std::memcpy(&given_[threadIdx.x], &given, sizeof(V));
    wait(Waiting::for_warp);
    V got;
    std::memcpy(&got, &given_[threadIdx.x / 32 * 32 + from], sizeof(V));
    wait(Waiting::for_warp);  // nobody gives anew before all have read
    return got;
  }
  /// Bit k: what lane k of this warp says.
  unsigned ballot(bool says) {
    given_[threadIdx.x][0] = static_cast<char>(says);
    wait(Waiting::for_warp);
    unsigned all = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
      all |= (given_[threadIdx.x / 32 * 32 + lane][0] != 0 ? 1U : 0U) << lane;
    wait(Waiting::for_warp);
    return all;
  }

 private:
  struct Thread {
    boost::context::fiber fiber, scheduler;
    Waiting waiting = Waiting::no;
  };
  static inline SimulatedBlock* current = nullptr;

  template <class Body>
  SimulatedBlock(unsigned count, const Body& body) : threads_(count), given_(count) {
    static boost::context::pooled_fixedsize_stack stacks(64 * 1024);
    for (Thread& thread : threads_)
      thread.fiber =
          boost::context::fiber(std::allocator_arg, stacks, [&thread, &body](boost::context::fiber&& scheduler) {
            thread.scheduler = std::move(scheduler);
            body();
            thread.waiting = Waiting::over;
            return std::move(thread.scheduler);
          });
  }
  void run_all() {
    while (step()) {
    }
  }
  /// Runs one warp after the other to the block's next barrier, so that a missing one shows; false when all are over.
  bool step() {
    const std::size_t warps = (threads_.size() + 31) / 32;
    bool any = false;
    for (std::size_t k = 0; k < warps; ++k) {
      const std::size_t first = (reversed ? warps - 1 - k : k) * 32, last = std::min(first + 32, threads_.size());
      while (run(first, last) || release(first, last, Waiting::for_warp)) any = true;
    }
    const bool released = release(0, threads_.size(), Waiting::for_block);
    if (!any && !released) {
      for (const Thread& thread : threads_)
        if (thread.waiting != Waiting::over)
          throw std::logic_error("simulated grid: threads wait at different barriers");
      return false;
    }
    return true;
  }
  /// Runs the threads that may run to their next barriers; false when there are none.
  bool run(std::size_t first, std::size_t last) {
    bool any = false;
    for (std::size_t k = first; k < last; ++k) {
      const std::size_t thread = reversed ? first + last - 1 - k : k;
      if (threads_[thread].waiting != Waiting::no) continue;
      any = true;
      threadIdx = {static_cast<unsigned>(thread), 0, 0};
      threads_[thread].fiber = std::move(threads_[thread].fiber).resume();
    }
    return any;
  }
  /// Lets go those of a warp, or of the block, that have all come to the same barrier.
  bool release(std::size_t first, std::size_t last, Waiting at) {
    bool any = false;
    for (std::size_t k = first; k < last; ++k) {
      if (threads_[k].waiting == Waiting::over) continue;
      if (threads_[k].waiting != at) return false;
      any = true;
    }
    for (std::size_t k = first; k < last; ++k)
      if (threads_[k].waiting == at) threads_[k].waiting = Waiting::no;
    return any;
  }

  std::vector<Thread> threads_;
  std::vector<std::array<char, 8>> given_;
};

}  // namespace linden::cuda

inline void __syncthreads() {
  linden::cuda::SimulatedBlock::running().wait(linden::cuda::SimulatedBlock::Waiting::for_block);
}
inline void __syncwarp(unsigned = 0xffffffffU) {
  linden::cuda::SimulatedBlock::running().wait(linden::cuda::SimulatedBlock::Waiting::for_warp);
}
template <class V>
V __shfl_xor_sync(unsigned, V value, int lane) {
  return linden::cuda::SimulatedBlock::running().exchange(value, threadIdx.x % 32 ^ static_cast<unsigned>(lane));
}
inline unsigned __ballot_sync(unsigned, bool value) {
  return linden::cuda::SimulatedBlock::running().ballot(value);
}
template <class V>
V __shfl_sync(unsigned, V value, int lane) {
  return linden::cuda::SimulatedBlock::running().exchange(value, static_cast<unsigned>(lane) % 32);
}

#include "simulated_runtime.hpp"

namespace linden::cuda {

/// Starts kernel(arguments...) for every block and thread of the grid.
template <class... P, class... A>
void launch(const char*, Grid grid, int threads, Stream, void (*kernel)(P...), A... arguments) {
  simulated::start([=] {
    gridDim = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z)};
    blockDim = {static_cast<unsigned>(threads), 1, 1};
    for (unsigned z = 0; z < gridDim.z; ++z)
      for (unsigned y = 0; y < gridDim.y; ++y)
        for (unsigned x = 0; x < gridDim.x; ++x) {
          blockIdx = {x, y, z};
          SimulatedBlock::run(blockDim.x, [&] { kernel(static_cast<P>(arguments)...); });
        }
  });
}

}  // namespace linden::cuda
