// How far is each operation of the GPU backend from what the card can do? Ceilings first: copying, matrix products. Rates are of
// the bytes or operations an operation needs, whatever it really moves. Shapes are those of Llama-3.2-1B, 8192 tokens, bfloat16.
//   build/cuda/bin/bench/kernels_ops
#include <linden/train/adamw.hpp>

#include "../../kernels/adamw.cuh"
#include "kernels/device_bench.hpp"

namespace {
using namespace linden;
using bench::random_elements;

constexpr long n = 8192, hidden = 2048, inner = 8192, vocabulary = 128256, heads = 32, kv_heads = 8, head_size = 64;
constexpr double tera = 1e12, giga = 1e9;

// ---- ceilings ---

void copy(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    const std::size_t bytes = std::size_t(1) << 30U;
    const cuda::Buffer<char> from(bytes), to(bytes);
    const cuda::OnDevice backend(device);
    bench::time_on_device(state, device, [&] { backend.copy(from.data(), bytes, to.data()); });
    bench::set_rate(state, "GB/s", 2.0 * static_cast<double>(bytes), giga);
  });
}

template <class T>
void product(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    const auto a = random_elements<T>(device, n * n), b = random_elements<T>(device, n * n);
    const cuda::Buffer<T> c(n * n);
    const cuda::Queue queue = device.queue(0);
    bench::time_on_device(state, device, [&] {
      cuda::gemm<T>(n, n, n, {a.data(), n}, {b.data(), n, true}, c.data(), n, false, queue);
    });
    bench::set_rate(state, "TFLOP/s", 2.0 * n * n * n, tera);
  });
}

// ---- the adapter beside its base ---

/// y = x W^T alone; with ((x A) B) accumulated into it; or as one product over [x | x A] and [W | B^T], whose rows lie side by
/// side. diag(p) is in A.
enum class Adapter { none, accumulated, concatenated };

template <Adapter How>
void adapted_product(benchmark::State& state) {
  const long r = state.range(0), k = How == Adapter::concatenated ? hidden + r : hidden;
  bench::on_device(state, [&](cuda::Device& device) {
    using T = bfloat16;
    const auto x = random_elements<T>(device, n * k), w = random_elements<T>(device, inner * k);
    const auto a = random_elements<T>(device, hidden * r), b = random_elements<T>(device, r * inner);
    const cuda::Buffer<T> low(static_cast<std::size_t>(n * r)), y(n * inner);
    const cuda::Queue queue = device.queue(0);
    bench::time_on_device(state, device, [&] {
      if (How == Adapter::concatenated)
        cuda::gemm<T>(n, r, hidden, {x.data(), k}, {a.data(), r}, x.data() + hidden, k, false, queue);
      cuda::gemm<T>(n, inner, k, {x.data(), k}, {w.data(), k, true}, y.data(), inner, false, queue);
      if (How != Adapter::accumulated) return;
      cuda::gemm<T>(n, r, hidden, {x.data(), k}, {a.data(), r}, low.data(), r, false, queue);
      cuda::gemm<T>(n, inner, r, {low.data(), r}, {b.data(), inner}, y.data(), inner, true, queue);
    });
    bench::set_rate(state, "TFLOP/s", 2.0 * n * hidden * inner, tera);  // of the base: so the three compare
  });
}

// ---- operations ---

using Hidden = Expr<Shape<tokens, hidden>>;
using Inner = Expr<Shape<tokens, inner>>;

struct Norm {
  constexpr Hidden operator()(Hidden x, Frozen<Expr<Shape<hidden>>> w) const { return rms_norm(x, w, 1e-5); }
};
struct Gate {
  constexpr Inner operator()(Inner gate, Inner up) const { return hadamard(silu(gate), up); }
};
struct Rotary {
  using Angles = Frozen<Expr<Shape<tokens, head_size / 2>>>;
  constexpr Hidden operator()(Hidden x, Angles cosine, Angles sine) const { return rotary<head_size>(x, cosine, sine); }
};
struct Attention {
  using Keys = Expr<Shape<tokens, kv_heads * head_size>>;
  constexpr Hidden operator()(Hidden q, Keys k, Keys v, Ids<Shape<sequences, 4>> spans) const {
    return attention<heads, kv_heads>(q, k, v, spans);
  }
};
using Loss = decltype(value_and_grad<0>(LlamaHead<Llama32_1B>::Loss{}));

/// Matrices for a function: inputs are random, results are not.
class Matrices {
 public:
  explicit Matrices(cuda::Device& device) : device_(device) {}
  template <class S>
  TensorView<bfloat16, S> of(long rows) {
    memory_.push_back(random_elements<bfloat16>(device_, rows * S::column_count));
    return TensorView<bfloat16, S>::strided(memory_.back().data(), rows, S::column_count, S::column_count);
  }

 private:
  cuda::Device& device_;
  std::vector<cuda::Buffer<bfloat16>> memory_;
};

/// Times F's plan on these tensors.
template <class F, class Results, class... Tensors>
void time_plan(benchmark::State& state, cuda::Device& device, Results results, const Tensors&... tensors) {
  cuda::Workspace<bfloat16> workspace(device);
  bench::time_on_device(state, device, [&] { evaluate_into<F>(workspace, results, tensors...); });
}
/// A matrix of `columns` is so many bytes.
constexpr double bytes(long columns) { return static_cast<double>(n * columns) * sizeof(bfloat16); }

void norm_forward(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using H = Shape<tokens, hidden>;
    const auto x = make.of<H>(n), y = make.of<H>(n);
    time_plan<decltype(compile(Norm{}))>(state, device, y, x, make.of<Shape<hidden>>(1));
    bench::set_rate(state, "GB/s", bytes(2 * hidden), giga);
  });
}
void norm_backward(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using H = Shape<tokens, hidden>;
    const auto x = make.of<H>(n), dx = make.of<H>(n), dy = make.of<H>(n);
    time_plan<decltype(vjp<0>(Norm{}))>(state, device, dx, x, make.of<Shape<hidden>>(1), dy);
    bench::set_rate(state, "GB/s", bytes(3 * hidden), giga);
  });
}
void gate_forward(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using I = Shape<tokens, inner>;
    const auto gate = make.of<I>(n), up = make.of<I>(n), y = make.of<I>(n);
    time_plan<decltype(compile(Gate{}))>(state, device, y, gate, up);
    bench::set_rate(state, "GB/s", bytes(3 * inner), giga);
  });
}
void gate_backward(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using I = Shape<tokens, inner>;
    const auto gate = make.of<I>(n), up = make.of<I>(n), dgate = make.of<I>(n), dup = make.of<I>(n), dy = make.of<I>(n);
    time_plan<decltype(vjp<0, 1>(Gate{}))>(state, device, std::tuple(dgate, dup), gate, up, dy);
    bench::set_rate(state, "GB/s", bytes(5 * inner), giga);
  });
}
void rotary_forward(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using H = Shape<tokens, hidden>;
    using A = Shape<tokens, head_size / 2>;
    const auto x = make.of<H>(n), y = make.of<H>(n);
    time_plan<decltype(compile(Rotary{}))>(state, device, y, x, make.of<A>(n), make.of<A>(n));
    bench::set_rate(state, "GB/s", bytes(2 * hidden + head_size), giga);
  });
}

/// Sequences of state.range(0) tokens; operations of the products below the diagonal.
template <bool Backward, bool ByCudnn = false>
void attention_of(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    if constexpr (ByCudnn) device.set_attention(cuda::make_cudnn_attention());
    Matrices make(device);
    const long length = state.range(0);
    std::vector<std::int32_t> spans;
    for (long first = 0; first < n; first += length)
      for (const long entry : {first, length, first, length}) spans.push_back(static_cast<std::int32_t>(entry));
    cuda::Buffer<std::int32_t> memory;
    const cuda::OnDevice backend(device);
    const TensorView<const std::int32_t, Shape<sequences, 4>> places(backend.place(std::span<const std::int32_t>(spans), memory), n / length);
    using H = Shape<tokens, hidden>;
    using K = Shape<tokens, kv_heads * head_size>;
    const auto q = make.of<H>(n), y = make.of<H>(n), dq = make.of<H>(n);
    const auto k = make.of<K>(n), v = make.of<K>(n), dk = make.of<K>(n), dv = make.of<K>(n);
    const double product_below_diagonal = static_cast<double>(n * length * heads * head_size);
    if constexpr (Backward) {
      using Pair = decltype(pullback<Keep::everything, 0, 1, 2>(Attention{}));
      cuda::Workspace<bfloat16> workspace(device);
      const cuda::Buffer<bfloat16> saved(static_cast<std::size_t>(Pair::kept.pools.elements(Sizes{}.set(tokens, n).set(sequences, n / length))));
      run_forward(Pair{}, workspace, saved.data(), y, q, k, v, places);
      bench::time_on_device(state, device, [&] {
        run_backward(Pair{}, workspace, saved.data(), std::tuple(dq, dk, dv), y, q, k, v, places);
      });
      bench::set_rate(state, "TFLOP/s", 5 * product_below_diagonal, tera);
    } else {
      time_plan<decltype(compile(Attention{}))>(state, device, y, q, k, v, places);
      bench::set_rate(state, "TFLOP/s", 2 * product_below_diagonal, tera);
    }
  });
}

void head_with_loss(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    Matrices make(device);
    using H = Shape<tokens, hidden>;
    const auto x = make.of<H>(n), dx = make.of<H>(n);
    const auto norm = make.of<Shape<hidden>>(1);
    const auto head = make.of<Shape<vocabulary, hidden>>(vocabulary);
    std::vector<std::int32_t> wanted(n);
    for (long t = 0; t < n; ++t) wanted[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t * 7919 % vocabulary);
    const std::vector<float> one{1};
    cuda::Buffer<std::int32_t> target_memory;
    cuda::Buffer<float> scale_memory, loss(1);
    const cuda::OnDevice backend(device);
    const TensorView<const std::int32_t, Shape<tokens>> targets(backend.place(std::span<const std::int32_t>(wanted), target_memory), n);
    const TensorView<const float, Shape<>> scale(backend.place(std::span<const float>(one), scale_memory));
    time_plan<Loss>(state, device, std::tuple(TensorView<float, Shape<>>(loss.data()), dx), x, norm, head, targets, scale);
    bench::set_rate(state, "TFLOP/s", 4.0 * n * hidden * vocabulary, tera);
  });
}

void adamw_step(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    const long count = state.range(0);
    const auto param = random_elements<float>(device, count), grad = random_elements<float>(device, count);
    const auto m = random_elements<float>(device, count), v = random_elements<float>(device, count);
    const cuda::Buffer<bfloat16> half(static_cast<std::size_t>(count));
    const cuda::OnDevice backend(device);
    backend.clear(v.data(), static_cast<std::size_t>(count));
    const cuda::Buffer<float> norm(1);
    cuda::AdamWBuffers buffers;
    buffers.param = param.data(), buffers.grad = grad.data(), buffers.m = m.data(), buffers.v = v.data(), buffers.half = half.data();
    const AdamWStep<float> step(1, 1e-4, {});
    bench::time_on_device(state, device, [&] {
      cuda::adamw(buffers, count, 1.0, step, norm.data(), device.queue(cuda::adamw_scratch(count)));
    });
    bench::set_rate(state, "GB/s", 34.0 * static_cast<double>(count), giga);
  });
}
}  // namespace

BENCHMARK(copy)->UseManualTime();
BENCHMARK(product<bfloat16>)->Name("product/bfloat16")->UseManualTime();
BENCHMARK(product<float>)->Name("product/float")->UseManualTime();
BENCHMARK(adapted_product<Adapter::none>)->Name("adapter/none")->Arg(16)->UseManualTime();
BENCHMARK(adapted_product<Adapter::accumulated>)->Name("adapter/accumulated")->Arg(16)->Arg(256)->UseManualTime();
BENCHMARK(adapted_product<Adapter::concatenated>)->Name("adapter/concatenated")->Arg(16)->Arg(256)->UseManualTime();
BENCHMARK(norm_forward)->UseManualTime();
BENCHMARK(norm_backward)->UseManualTime();
BENCHMARK(gate_forward)->UseManualTime();
BENCHMARK(gate_backward)->UseManualTime();
BENCHMARK(rotary_forward)->UseManualTime();
BENCHMARK(attention_of<false>)->Name("attention_forward")->Arg(512)->Arg(2048)->Arg(8192)->UseManualTime();
BENCHMARK(attention_of<true>)->Name("attention_backward")->Arg(512)->Arg(2048)->Arg(8192)->UseManualTime();
#ifdef LINDEN_CUDNN
BENCHMARK(attention_of<false, true>)->Name("attention_forward_cudnn")->Arg(512)->Arg(2048)->Arg(8192)->UseManualTime();
BENCHMARK(attention_of<true, true>)->Name("attention_backward_cudnn")->Arg(512)->Arg(2048)->Arg(8192)->UseManualTime();
#endif
BENCHMARK(head_with_loss)->UseManualTime();
BENCHMARK(adamw_step)->Arg(11 << 20)->Arg(168 << 20)->UseManualTime();
BENCHMARK_MAIN();
