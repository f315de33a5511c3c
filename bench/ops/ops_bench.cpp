// Each operation between the products, at the width of Llama-3.2-1B and with more rows than caches hold: rates are of the bytes an
// operation must read and write, or of the operations it must do, whatever it really does.
//   build/release/bin/bench/ops_ops
#include <linden/core/random.hpp>
#include <linden/linden.hpp>
#include <linden/train/adamw.hpp>

#include "rate.hpp"

namespace {
using namespace linden;

constexpr long hidden = 2048, inner = 8192, vocabulary = 128256, heads = 32, kv_heads = 8, head_size = 64;
constexpr long rows = 16384, sequence = 2048;
using X = Shape<tokens, hidden>;
using H = Shape<tokens, inner>;
using Q = Shape<tokens, heads * head_size>;
using K = Shape<tokens, kv_heads * head_size>;

template <class S, class... Rows>
Tensor<float, S> random(Rows... count) {
  Tensor<float, S> x(count...);
  TorchUniform uniform(1);
  const auto all = x.span();
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i < 65536 ? uniform(-1.0F, 1.0F) : all[i - 65536];
  return x;
}

/// Runs F, what compile() or vjp() made of a function, again and again into the same memory.
template <class F, class Out, class... In>
void repeat(benchmark::State& state, F, Out&& out, const In&... in) {
  Workspace<float> workspace;
  evaluate_into<F>(workspace, out, in...);
  for (auto _ : state) {
    evaluate_into<F>(workspace, out, in...);
    benchmark::ClobberMemory();
  }
}

/// A kernel alone: as the only operation of a function its result would be copied to where the caller wants it.
template <class Operation>
void repeat_kernel(benchmark::State& state, const Call<float>& call) {
  Operation::cpu(call);
  for (auto _ : state) {
    Operation::cpu(call);
    benchmark::ClobberMemory();
  }
}
template <class S>
Operand<float> operand(const Tensor<float, S>& x) {
  const long columns = static_cast<long>(x.size()) / x.rows();
  return {.data = const_cast<float*>(x.span().data()), .rows = x.rows(), .columns = columns, .stride = columns};
}

/// `tensors` read or written once, of so many elements.
void set_bytes(benchmark::State& state, double tensors, double elements) { bench::set_rate(state, "GB/s", 4 * tensors * elements); }

constexpr auto gated = [](Expr<H> gate, Expr<H> up) { return hadamard(silu(gate), up); };
constexpr auto sum = [](Expr<X> x, Expr<X> y) { return x + y; };

void rms_norm_forward(benchmark::State& state) {
  const auto x = random<X>(rows);
  const auto w = random<Shape<1, hidden>>();
  const Tensor<float, X> y(rows);
  repeat_kernel<RmsNorm>(state, {{operand(x), operand(w)}, {operand(y)}, {1e-5}});
  set_bytes(state, 2, rows * hidden);
}
void rms_norm_backward(benchmark::State& state) {
  const auto x = random<X>(rows), dy = random<X>(rows);
  const auto w = random<Shape<1, hidden>>();
  const Tensor<float, X> dx(rows);
  repeat_kernel<RmsNormBackward>(state, {{operand(x), operand(w), operand(dy)}, {operand(dx)}, {1e-5}});
  set_bytes(state, 3, rows * hidden);
}
void swiglu_forward(benchmark::State& state) {
  Tensor<float, H> y(rows / 4);
  repeat(state, compile(gated), y, random<H>(rows / 4), random<H>(rows / 4));
  set_bytes(state, 3, rows / 4 * inner);
}
void swiglu_backward(benchmark::State& state) {
  Tensor<float, H> dgate(rows / 4), dup(rows / 4);
  repeat(state, vjp(gated), std::tie(dgate, dup), random<H>(rows / 4), random<H>(rows / 4), random<H>(rows / 4));
  set_bytes(state, 5, rows / 4 * inner);
}
void residual(benchmark::State& state) {
  Tensor<float, X> y(rows);
  repeat(state, compile(sum), y, random<X>(rows), random<X>(rows));
  set_bytes(state, 3, rows * hidden);
}
void rotary_forward(benchmark::State& state) {
  const auto x = random<X>(rows);
  const auto cosine = random<Shape<tokens, head_size / 2>>(rows), sine = random<Shape<tokens, head_size / 2>>(rows);
  const Tensor<float, X> y(rows);
  repeat_kernel<Rotary>(state, {{operand(x), operand(cosine), operand(sine)}, {operand(y)}, {head_size, 1}});
  set_bytes(state, 2, rows * hidden);
}

constexpr std::int32_t one_sequence[] = {0, sequence, 0, sequence};
constexpr Operand<float> spans{.ids = one_sequence, .rows = 1, .columns = 4, .stride = 4};
constexpr double half_square = 0.5 * sequence * sequence * heads * head_size;  // multiply-adds of one causal product

void attention_forward(benchmark::State& state) {
  const auto q = random<Q>(sequence);
  const auto k = random<K>(sequence), v = random<K>(sequence);
  const Tensor<float, Q> o(sequence);
  repeat_kernel<Attention>(state, {{operand(q), operand(k), operand(v), spans}, {operand(o)}, {heads, kv_heads}});
  bench::set_rate(state, "GFLOP/s", 2 * 2 * half_square);
}
/// Five products: the scores again, and one for each of dq, dk, dv and the scores' gradient.
void attention_backward(benchmark::State& state) {
  const auto q = random<Q>(sequence), g = random<Q>(sequence);
  const auto k = random<K>(sequence), v = random<K>(sequence);
  const Tensor<float, Q> o(sequence), dq(sequence);
  const Tensor<float, K> dk(sequence), dv(sequence);
  const Tensor<float, Shape<tokens, heads>> log_sum(sequence);
  Attention::cpu(Call<float>{{operand(q), operand(k), operand(v), spans}, {operand(o), operand(log_sum)}, {heads, kv_heads}});
  repeat_kernel<AttentionBackward>(state, {{operand(q), operand(k), operand(v), operand(o), operand(log_sum), operand(g), spans},
                                           {operand(dq), operand(dk), operand(dv)},
                                           {heads, kv_heads}});
  bench::set_rate(state, "GFLOP/s", 5 * 2 * half_square);
}

/// Output head, loss and gradient by 512 tokens: two products.
void head_cross_entropy_and_gradient(benchmark::State& state) {
  constexpr long n = 512;
  using Head = Shape<vocabulary, hidden>;
  constexpr auto loss = [](Expr<X> x, Frozen<Expr<Head>> w, Ids<Shape<tokens>> targets, Frozen<Expr<Shape<>>> scale) {
    return head_cross_entropy(x, Expr<Head>(w), targets, Expr<Shape<>>(scale));
  };
  Tensor<float, Shape<>> value;
  Tensor<float, X> dx(n);
  Tensor<std::int32_t, Shape<tokens>> targets(n);
  repeat(state, value_and_grad<0>(loss), std::tie(value, dx), random<X>(n), random<Head>(), targets, random<Shape<>>());
  bench::set_rate(state, "GFLOP/s", 4.0 * n * hidden * vocabulary);
}

constexpr std::size_t parameters = 1UL << 25;
void adamw(benchmark::State& state) {
  std::vector<float> param(parameters, 1.0F), grad(parameters, 0.1F), m(parameters), v(parameters);
  std::size_t step = 0;
  for (auto _ : state) adamw_step<float>(param, grad, m, v, ++step, 1e-4);
  set_bytes(state, 7, parameters);
}
void norm_of_gradient(benchmark::State& state) {
  const AlignedBuffer<float> grad(4 * parameters);
  std::ranges::fill(grad.span(), 0.1F);
  for (auto _ : state) benchmark::DoNotOptimize(gradient_norm(grad.span()));
  bench::set_rate(state, "GB/s read", 16.0 * parameters);
}
}  // namespace

#define LINDEN_BENCH(name) BENCHMARK(name)->UseRealTime()->Unit(benchmark::kMillisecond)
LINDEN_BENCH(rms_norm_forward);
LINDEN_BENCH(rms_norm_backward);
LINDEN_BENCH(swiglu_forward);
LINDEN_BENCH(swiglu_backward);
LINDEN_BENCH(residual);
LINDEN_BENCH(rotary_forward);
LINDEN_BENCH(attention_forward);
LINDEN_BENCH(attention_backward);
LINDEN_BENCH(head_cross_entropy_and_gradient);
LINDEN_BENCH(adamw);
LINDEN_BENCH(norm_of_gradient);
BENCHMARK_MAIN();
