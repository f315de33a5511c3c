#pragma once
/// \file
/// Allocations that fail when a test wants it. Replaces the global operator new: include it in one source of a program.

#include <cstdlib>
#include <new>

// The thread sanitizer brings an operator new that cannot be replaced.
#if defined(__SANITIZE_THREAD__)
#define LINDEN_TEST_ALLOCATIONS_FAIL false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LINDEN_TEST_ALLOCATIONS_FAIL false
#endif
#endif
#ifndef LINDEN_TEST_ALLOCATIONS_FAIL
#define LINDEN_TEST_ALLOCATIONS_FAIL true
#endif

namespace linden::test {

/// Where it is false, nothing fails, and there is nothing to be seen.
inline constexpr bool allocations_can_fail = LINDEN_TEST_ALLOCATIONS_FAIL;

/// While it lives, the `n`-th allocation from now (from 0) of at least so many bytes, and that one alone, throws std::bad_alloc.
/// One at a time.
class FailingAllocation {
 public:
  explicit FailingAllocation(long n, std::size_t at_least = 0) {
    smallest = at_least;
    left = n;
  }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation() { left = never; }

  /// Called by operator new.
  static void count(std::size_t bytes) {
    if (bytes >= smallest && left >= 0 && left-- == 0) throw std::bad_alloc();
  }

 private:
  static constexpr long never = -1;
  static inline thread_local long left = never;
  static inline thread_local std::size_t smallest = 0;
};

/// Calls attempt() with its first allocation failing, then its second, and so on, until it needs no more; after every failure
/// check(). Those of less than `at_least` bytes do not fail: JSON values end the process when they cannot be destroyed for want of
/// memory. \return how many failed. Other exceptions leave.
template <class Attempt, class Check>
long fail_every_allocation(Attempt attempt, Check check, std::size_t at_least = 0) {
  for (long n = 0;; ++n) {
    try {
      const FailingAllocation failing(n, at_least);
      attempt();
      return n;
    } catch (const std::bad_alloc&) {
    }
    check();
  }
}

}  // namespace linden::test

#if LINDEN_TEST_ALLOCATIONS_FAIL
// Not inlined: GCC would take the pairs for mismatched ones.
[[gnu::noinline]] void* operator new(std::size_t size) {
  linden::test::FailingAllocation::count(size);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  linden::test::FailingAllocation::count(size);
  const auto unit = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(unit, (size + unit - 1) / unit * unit)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif
