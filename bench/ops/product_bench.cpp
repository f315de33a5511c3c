// Matrix products at the shapes of Llama-3.2-1B, beside those of libraries where they were found: T tokens times a frozen weight,
// forward (x W^T) and backward (dy W), and the adapter's four. The weight comes from memory: eight of them take turns.
//   build/release/bin/bench/ops_product
#include <linden/core/random.hpp>
#include <linden/ops/gemm.hpp>
#include <string>
#include <vector>

#include "rate.hpp"
#ifdef LINDEN_BENCH_OPENBLAS
#include <cblas.h>
#endif
#ifdef LINDEN_BENCH_ONEDNN
#include <dnnl.h>
#endif

namespace {
using namespace linden;

/// C [m, n] = op(A) op(B), op(A) [m, k].
struct Product {
  long m, n, k;
  bool ta, tb;
};

enum class By { linden, linden_bfloat16, openblas, onednn };

template <class T>
const std::vector<T>& elements() {
  static const std::vector<T> all = [] {
    std::vector<T> v(std::size_t(1) << 27U);
    TorchUniform uniform(1);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = i < (1U << 20U) ? T(uniform(-1.0F, 1.0F)) : v[i - (1U << 20U)];
    return v;
  }();
  return all;
}

void product(benchmark::State& state, const Product& s, By by) {
  const long size = s.n * s.k, turns = std::max(1L, std::min(8L, (1L << 27) / size));
  const std::vector<float> a(elements<float>().begin(), elements<float>().begin() + s.m * s.k);
  std::vector<float> c(static_cast<std::size_t>(s.m * s.n));
  if (by == By::linden_bfloat16) elements<linden::bfloat16>();  // made before the clock runs
  const long lda = s.ta ? s.m : s.k, ldb = s.tb ? s.k : s.n;
  long turn = 0;
  for (auto _ : state) {
    const long first = turn++ % turns * size;
    if (by == By::linden)
      gemm<float>(s.m, s.n, s.k, {a.data(), lda, s.ta}, {elements<float>().data() + first, ldb, s.tb}, c.data(), s.n, false);
    if (by == By::linden_bfloat16)
      gemm<float>(s.m, s.n, s.k, {a.data(), lda, s.ta}, {nullptr, ldb, s.tb, elements<linden::bfloat16>().data() + first}, c.data(), s.n, false);
#ifdef LINDEN_BENCH_OPENBLAS
    const auto order = [](bool transposed) { return transposed ? CblasTrans : CblasNoTrans; };
    if (by == By::openblas)
      cblas_sgemm(CblasRowMajor, order(s.ta), order(s.tb), int(s.m), int(s.n), int(s.k), 1, a.data(), int(lda),
                  elements<float>().data() + first, int(ldb), 0, c.data(), int(s.n));
#endif
#ifdef LINDEN_BENCH_ONEDNN
    if (by == By::onednn)
      dnnl_sgemm(s.ta ? 'T' : 'N', s.tb ? 'T' : 'N', s.m, s.n, s.k, 1, a.data(), lda, elements<float>().data() + first, ldb, 0, c.data(), s.n);
#endif
    benchmark::ClobberMemory();
  }
  const auto m = static_cast<double>(s.m), n = static_cast<double>(s.n), k = static_cast<double>(s.k);
  if (s.m == 1)
    bench::set_rate(state, "GB/s read", n * k * (by == By::linden_bfloat16 ? 2 : 4));
  else
    bench::set_rate(state, "GFLOP/s", 2 * m * n * k);
}
}  // namespace

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, Product>> shapes;
  for (const long T : {512L, 64L, 1L}) {
    const std::string at = "/T" + std::to_string(T);
    shapes.push_back({"q" + at, {T, 2048, 2048, false, true}});
    shapes.push_back({"gate" + at, {T, 8192, 2048, false, true}});
    shapes.push_back({"down" + at, {T, 2048, 8192, false, true}});
    shapes.push_back({"gate_backward" + at, {T, 2048, 8192, false, false}});
    shapes.push_back({"down_backward" + at, {T, 8192, 2048, false, false}});
  }
  for (const long r : {32L, 256L}) {
    const std::string at = "/r" + std::to_string(r);
    shapes.push_back({"xA" + at, {512, r, 2048, false, false}});
    shapes.push_back({"SB" + at, {512, 8192, r, false, false}});
    shapes.push_back({"dA" + at, {2048, r, 512, true, false}});
    shapes.push_back({"dB" + at, {r, 8192, 512, true, false}});
  }
  for (const auto& [name, shape] : shapes) {
    const auto add = [&, &name = name, &shape = shape](const char* who, By by) {
      benchmark::RegisterBenchmark(("product/" + name + who).c_str(), [shape, by](benchmark::State& state) { product(state, shape, by); })
          ->UseRealTime()->Unit(benchmark::kMillisecond);
    };
    add("", By::linden);
    if (name.find("/T") != std::string::npos) add("/bfloat16", By::linden_bfloat16);
#ifdef LINDEN_BENCH_OPENBLAS
    add("/openblas", By::openblas);
#endif
#ifdef LINDEN_BENCH_ONEDNN
    add("/onednn", By::onednn);
#endif
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
