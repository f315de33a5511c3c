#pragma once
/// \file
/// Threads over a fixed partition. How the work is cut depends on its size alone, never on the number of threads, and
/// every piece is computed by one thread: so results are bitwise the same for any number of threads.
/// Without OpenMP the pieces run one after the other.

#include <algorithm>

#ifdef _OPENMP
#include <omp.h>
#define LINDEN_OMP(...) _Pragma(#__VA_ARGS__)
#else
/// `#pragma omp` where the compiler has OpenMP, else nothing.
#define LINDEN_OMP(...)
#endif

/// Before a loop whose iterations are independent: the compiler need not check pointers for overlap.
/// (Clang checks them at run time; its own pragma would warn wherever it decides not to vectorise.)
#if defined(__GNUC__) && !defined(__clang__)
#define LINDEN_INDEPENDENT _Pragma("GCC ivdep")
#else
#define LINDEN_INDEPENDENT
#endif

namespace linden {

/// Threads that the next parallel loop may use.
inline long thread_count() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// Below this many elementary operations a loop is not worth waking threads for.
inline constexpr long parallel_threshold = 1L << 15;

/// Calls body(first, last) for the pieces of [0, count). `cost` is the work of one item in elementary operations.
template <class Body>
void parallel_for(long count, long cost, Body&& body) {
  if (count <= 0) return;
  const long total = count * std::max(cost, 1L);
  const long pieces = std::clamp(total / (parallel_threshold / 2), 1L, std::min(count, 64L));
  if (pieces == 1) return body(0L, count);
  LINDEN_OMP(omp parallel for schedule(static) if (total >= parallel_threshold))
  for (long piece = 0; piece < pieces; ++piece) body(count * piece / pieces, count * (piece + 1) / pieces);
}

}  // namespace linden
