// One whole training step (frozen base, adapters on all seven projections, AdamW) at the sizes of the PyTorch program that
// bench/peers/step_vs_torch.sh runs beside it: the same weights and token ids, made by the same hash, so the losses of the
// first steps can be compared too (counter "loss").
#include <benchmark/benchmark.h>

#include <linden/train/adamw.hpp>
#include <linden/train/llama_pass.hpp>

namespace {
using namespace linden;

struct Tiny {
  static constexpr const char* name = "tiny";
  static constexpr long hidden = 64, intermediate = 172, layers = 5, heads = 8, kv_heads = 4, head_size = 8;
  static constexpr long vocabulary = 512, positions = 512;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
  static constexpr long sequence = 256, batch = 8, rank_ = 32;
};
struct Mid {
  static constexpr const char* name = "mid";
  static constexpr long hidden = 288, intermediate = 768, layers = 6, heads = 6, kv_heads = 6, head_size = 48;
  static constexpr long vocabulary = 32000, positions = 512;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
  static constexpr long sequence = 256, batch = 4, rank_ = 32;
};

/// Element i of tensor number n: scale * sqrt(3) * (u / 2^31 - 1), u = lowbias32(i + 0x9E3779B9 (n + 1000 seed)).
std::uint32_t hash(std::uint32_t i, std::uint32_t n) {
  std::uint32_t x = i + 0x9E3779B9U * (n + 1000U);
  x ^= x >> 16U;
  x *= 0x7feb352dU;
  x ^= x >> 15U;
  x *= 0x846ca68bU;
  return x ^ (x >> 16U);
}
template <class View>
void fill(View view, std::uint32_t n, double deviation) {
  std::uint32_t i = 0;
  for (float& e : view.span())
    e = static_cast<float>(deviation * std::sqrt(3.0) * (static_cast<double>(hash(i++, n)) / 2147483648.0 - 1.0));
}

/// A model, an adapter, and everything a step changes.
template <class C>
struct Step {
  Llama<C, float> model;
  AlignedBuffer<float> parameters, gradients, m, v;
  AdapterFactors<C, float> factors, slopes;
  std::vector<float> p = std::vector<float>(static_cast<std::size_t>(C::rank_), 2.0F);
  AdapterPass<C, float> pass;
  Batch batch;
  std::size_t steps = 0;

  Step()
      : parameters(size()), gradients(size()), m(size()), v(size()), factors(parameters.data(), C::rank_),
        slopes(gradients.data(), C::rank_) {
    auto& w = model.weights();
    fill(w.embedding, 0, 1 / std::sqrt(static_cast<double>(C::hidden)));
    std::ranges::fill(w.norm.span(), 1.0F);
    for (std::uint32_t l = 0; l < C::layers; ++l) {
      auto& layer = w.layers[l];
      auto& adapter = factors.layers[l];
      std::ranges::fill(layer.input_norm.span(), 1.0F);
      std::ranges::fill(layer.post_norm.span(), 1.0F);
      std::uint32_t n = 1 + 21 * l;
      const auto projection = [&n](auto& weight, auto& low_rank) {
        const double deviation = 1 / std::sqrt(static_cast<double>(weight.columns()));
        fill(weight, n++, deviation);
        fill(low_rank.A, n++, deviation);
        fill(low_rank.B, n++, 0.01);
      };
      projection(layer.q, adapter.q);
      projection(layer.k, adapter.k);
      projection(layer.v, adapter.v);
      projection(layer.o, adapter.o);
      projection(layer.gate, adapter.gate);
      projection(layer.up, adapter.up);
      projection(layer.down, adapter.down);
    }
    for (auto* buffer : {&m, &v}) std::ranges::fill(buffer->span(), 0.0F);
  }

  static std::size_t size() { return static_cast<std::size_t>(AdapterFactors<C, float>::count(C::rank_)); }

  void make_batch() {
    batch.clear();
    batch.offsets = {0};
    const auto number = static_cast<std::uint32_t>(900001 + steps);
    for (long s = 0; s < C::batch; ++s) {
      for (long t = 0; t < C::sequence; ++t) {
        const auto at = static_cast<std::uint32_t>(s * (C::sequence + 1) + t);
        batch.ids.push_back(static_cast<std::int32_t>(hash(at, number) % C::vocabulary));
        batch.targets.push_back(static_cast<std::int32_t>(hash(at + 1, number) % C::vocabulary));
        batch.positions.push_back(static_cast<std::int32_t>(t));
      }
      batch.offsets.push_back(static_cast<std::int32_t>((s + 1) * C::sequence));
    }
    batch.counted = static_cast<long>(batch.ids.size());
  }

  double run() {
    make_batch();
    std::ranges::fill(gradients.span(), 0.0F);
    const double loss = pass.run(model, factors, {p.data(), C::rank_, 0}, slopes, batch,
                                 1.0 / static_cast<double>(batch.counted));
    adamw_step<float>(parameters.span(), gradients.span(), m.span(), v.span(), ++steps, 1e-4, {.weight_decay = 0.01});
    return loss;
  }
};

template <class C, bool Matryoshka>
void training_step(benchmark::State& state) {
  Step<C> step;
  if (Matryoshka)  // a vector that really varies; the arithmetic is the same
    for (std::size_t i = 0; i < step.p.size(); ++i) step.p[i] = 2.0F / static_cast<float>(1 + i / 8);
  double loss = step.run();
  for (auto _ : state) benchmark::DoNotOptimize(loss = step.run());
  const auto tokens_per_step = static_cast<double>(C::batch * C::sequence);
  state.counters["tokens/s"] = benchmark::Counter(tokens_per_step, benchmark::Counter::kIsIterationInvariantRate);
}

/// Losses of the first steps, for comparison with the peer.
template <class C>
void first_losses(benchmark::State& state) {
  Step<C> step;
  std::array<double, 3> loss{};
  for (auto _ : state)
    for (double& l : loss) l = step.run();
  for (std::size_t k = 0; k < loss.size(); ++k) state.counters["loss" + std::to_string(k)] = loss[k];
}
}  // namespace

BENCHMARK(first_losses<Tiny>)->Iterations(1);
BENCHMARK(first_losses<Mid>)->Iterations(1);
BENCHMARK(training_step<Tiny, false>)->Name("step/tiny/lora")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(training_step<Tiny, true>)->Name("step/tiny/matryoshka")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(training_step<Mid, false>)->Name("step/mid/lora")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(training_step<Mid, true>)->Name("step/mid/matryoshka")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_MAIN();
