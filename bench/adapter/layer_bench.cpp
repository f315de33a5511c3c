// One adapted projection, forward and backward, at the shapes of Llama-3.2-1B: the frozen base alone (y = x W^T, dx), with a LoRA
// adapter, and with MatryoshkaLoRA's diagonal. GFLOP/s are of the operations needed: 4 T in out, and 6 T r (in + out).
//   build/release/bin/bench/adapter_layer
#include <linden/core/random.hpp>
#include <linden/linden.hpp>
#include <string>
#include <vector>

#include "rate.hpp"

namespace {
using namespace linden;

enum class Kind { base, lora, matryoshka };

template <long In, long Out>
struct Layer {
  using X = Shape<tokens, In>;
  using Y = Shape<tokens, Out>;
  using W = Shape<Out, In>;
  using A = Shape<In, rank>;
  using B = Shape<rank, Out>;
  using P = Shape<rank>;

  struct Base {
    constexpr auto operator()(Expr<X> x, Frozen<Expr<W>> w) const { return x * transpose(Expr<W>(w)); }
  };
  struct Adapted {
    constexpr auto operator()(Expr<X> x, Frozen<Expr<W>> w, Expr<A> a, Frozen<Expr<P>> p, Expr<B> b) const {
      return x * transpose(Expr<W>(w)) + x * a * diag(Expr<P>(p)) * b;
    }
  };
};

template <class S, class... Rows>
Tensor<float, S> random(Rows... count) {
  Tensor<float, S> x(count...);
  TorchUniform uniform(1);
  for (float& e : x.span()) e = uniform(-0.1F, 0.1F);
  return x;
}

template <long In, long Out>
void layer(benchmark::State& state, long n, long r, Kind kind) {
  using L = Layer<In, Out>;
  const auto x = random<typename L::X>(n);
  const auto w = random<typename L::W>();
  const auto dy = random<typename L::Y>(n);
  const auto a = random<typename L::A>(r);
  const auto b = random<typename L::B>(r);
  Tensor<float, typename L::P> p(r);
  for (long i = 0; i < r; ++i) p.span()[static_cast<std::size_t>(i)] = kind == Kind::lora ? 2.0F : 2.0F / static_cast<float>(1 + i / 8);
  Tensor<float, typename L::Y> y(n);
  Tensor<float, typename L::X> dx(n);
  Tensor<float, typename L::A> da(r);
  Tensor<float, typename L::B> db(r);
  Workspace<float> workspace;
  Sizes sizes;
  sizes.set(tokens, n).set(rank, r);
  using Plain = decltype(pullback<Keep::costly, 0>(typename L::Base{}));
  using Adapted = decltype(pullback<Keep::costly, 0, 2, 4>(typename L::Adapted{}));
  AlignedBuffer<float> saved(static_cast<std::size_t>(std::max(1L, Adapted::kept.pools.elements(sizes))));
  for (auto _ : state) {
    if (kind == Kind::base) {
      run_forward(Plain{}, workspace, saved.data(), y, x, w);
      run_backward(Plain{}, workspace, saved.data(), std::tie(dx), dy, x, w);
    } else {
      run_forward(Adapted{}, workspace, saved.data(), y, x, w, a, p, b);
      run_backward(Adapted{}, workspace, saved.data(), std::tie(dx, da, db), dy, x, w, a, p, b);
    }
    benchmark::ClobberMemory();
  }
  const auto T = static_cast<double>(n), rank_used = kind == Kind::base ? 0.0 : static_cast<double>(r);
  bench::set_rate(state, "GFLOP/s", 4 * T * In * Out + 6 * T * rank_used * (In + Out));
  state.counters["saved bytes"] = kind == Kind::base ? 0 : 4.0 * static_cast<double>(Adapted::kept.pools.elements(sizes));
}

template <long In, long Out>
void add_benchmarks(const std::string& name) {
  const auto add = [&](long n, long r, const char* what, Kind kind) {
    benchmark::RegisterBenchmark(("layer/" + name + "/T" + std::to_string(n) + "/r" + std::to_string(r) + "/" + what).c_str(),
                                 [=](benchmark::State& state) { layer<In, Out>(state, n, r, kind); })
        ->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (const long n : {64L, 512L})
    for (const long r : {32L, 256L}) {
      add(n, r, "base", Kind::base);
      add(n, r, "lora", Kind::lora);
      add(n, r, "matryoshka", Kind::matryoshka);
    }
}
}  // namespace

int main(int argc, char** argv) {
  add_benchmarks<2048, 2048>("q");
  add_benchmarks<2048, 8192>("gate");
  add_benchmarks<8192, 2048>("down");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
