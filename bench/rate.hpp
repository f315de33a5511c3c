#pragma once
/// \file
/// What benchmarks say beside the time.

#include <benchmark/benchmark.h>

namespace linden::bench {

/// Operations (or bytes) of one iteration as a rate; 1e9: in GFLOP/s or GB/s.
inline void set_rate(benchmark::State& state, const char* name, double per_iteration, double unit = 1e9) {
  state.counters[name] = benchmark::Counter(per_iteration / unit, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace linden::bench
