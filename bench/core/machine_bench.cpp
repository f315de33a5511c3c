// What the machine can do at most, with all threads: the ceilings that other benchmarks' rates are compared with.
//   build/release/bin/bench/core_machine
#include <linden/core/parallel.hpp>
#include <linden/ops/packet.hpp>
#include <linden/core/tensor.hpp>

#include "rate.hpp"

namespace {
using namespace linden;
using Register = detail::Packet<float>;

constexpr long pieces = 64;               // for any number of threads
constexpr std::size_t large = 1UL << 27;  // floats: half a gigabyte, far beyond any cache

/// Sums of products in registers, nothing else: twelve independent ones, so that none waits for another and
/// all fit into sixteen registers, with their factors.
void peak(benchmark::State& state) {
  constexpr long steps = 1L << 18, sums = 12;
  for (auto _ : state) {
    LINDEN_OMP(omp parallel for schedule(static))
    for (long piece = 0; piece < pieces; ++piece) {
      Register sum[sums];
      const Register a = Eigen::internal::pset1<Register>(0.999F), b = Eigen::internal::pset1<Register>(0.001F);
      for (auto& s : sum) s = b;
      for (long i = 0; i < steps; ++i)
        for (auto& s : sum) s = Eigen::internal::pmadd(s, a, b);
      for (auto& s : sum) benchmark::DoNotOptimize(s);
    }
  }
  bench::set_rate(state, "GFLOP/s", 2.0 * pieces * steps * sums * detail::packet_size<float>);
}

void copy(benchmark::State& state) {
  AlignedBuffer<float> from(large), to(large);
  std::fill_n(from.data(), large, 1.0F);
  std::fill_n(to.data(), large, 0.0F);  // or the first pass would measure how memory is handed out
  for (auto _ : state) {
    LINDEN_OMP(omp parallel for schedule(static))
    for (std::size_t i = 0; i < large; ++i) to.data()[i] = from.data()[i] + 1.0F;  // not a library's copy, which skips caches
    benchmark::ClobberMemory();
  }
  bench::set_rate(state, "GB/s", 2.0 * large * sizeof(float));
}

void read(benchmark::State& state) {
  AlignedBuffer<float> from(large);
  std::fill_n(from.data(), large, 1.0F);
  for (auto _ : state) {
    LINDEN_OMP(omp parallel for schedule(static))
    for (long piece = 0; piece < pieces; ++piece) {
      constexpr long size = large / pieces, P = detail::packet_size<float>;
      const float* const data = from.data() + piece * size;
      Register sum[8];
      for (auto& s : sum) s = Eigen::internal::pset1<Register>(0.0F);
      for (long i = 0; i < size; i += 8 * P)
        for (long k = 0; k < 8; ++k) sum[k] = Eigen::internal::padd(sum[k], detail::load_packet<float>(data + i + k * P));
      for (auto& s : sum) benchmark::DoNotOptimize(s);
    }
  }
  bench::set_rate(state, "GB/s read", static_cast<double>(large) * sizeof(float));
}
}  // namespace

BENCHMARK(peak)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(copy)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(read)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_MAIN();
