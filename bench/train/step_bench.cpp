// One whole training step (frozen base, adapters on all seven projections, AdamW) at the sizes of the PyTorch program that
// bench/peers/step_vs_torch.sh runs beside it: the same weights and token ids, made by the same hash, so the losses of the
// first steps can be compared too (counters loss0 ...). Kinds: lora, matryoshka, and base: the same without adapters, forward
// and backward to the first layer's input. step/1b needs 9 GB; step/1b_bf16 holds its frozen weights as checkpoints of that size store
// them; step/block is one of its blocks with 512 tokens. GFLOP/s counts what the step must compute:
//   4 T (L P_base + V d) + 6 T L P_adapter + 3 (2 sequences heads length^2 head_size), attention at half of the square.
#include <sys/resource.h>

#include <linden/train/adamw.hpp>
#include <linden/train/parallel_pass.hpp>

#include "rate.hpp"

namespace {
using namespace linden;

/// What the configurations share.
struct Common {
  using Weight = float;  ///< as frozen weights are held; bfloat16: rounded
  static constexpr long positions = 512;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};
struct Tiny : Common {
  static constexpr const char* name = "tiny";
  static constexpr long hidden = 64, intermediate = 172, layers = 5, heads = 8, kv_heads = 4, head_size = 8;
  static constexpr long vocabulary = 512;
  static constexpr long sequence = 256, batch = 8, rank_ = 32;
  static constexpr double embedding_deviation = 0.125;
};
struct Mid : Common {
  static constexpr const char* name = "mid";
  static constexpr long hidden = 288, intermediate = 768, layers = 6, heads = 6, kv_heads = 6, head_size = 48;
  static constexpr long vocabulary = 32000;
  static constexpr long sequence = 256, batch = 4, rank_ = 32;
  static constexpr double embedding_deviation = 0.058925565098878960;
};
struct OneB : Common {
  static constexpr const char* name = "1b";
  static constexpr long hidden = 2048, intermediate = 8192, layers = 16, heads = 32, kv_heads = 8, head_size = 64;
  static constexpr long vocabulary = 128256;
  static constexpr long sequence = 256, batch = 1, rank_ = 256;
  static constexpr double embedding_deviation = 0.02;
};

struct OneBHalf : OneB {
  static constexpr const char* name = "1b_bf16";
  using Weight = bfloat16;
};

/// One block of it.
struct Block : OneBHalf {
  static constexpr const char* name = "block";
  static constexpr long layers = 1, vocabulary = 128, sequence = 512;
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
  for (auto& e : view.span())
    e = typename View::element(static_cast<float>(deviation * std::sqrt(3.0) * (static_cast<double>(hash(i++, n)) / 2147483648.0 - 1.0)));
}

enum class Kind { base, lora, matryoshka };

/// In the order of the tensor numbers.
template <class Layer, class Body>
void for_each_projection(Layer& layer, Body&& body) {
  body(layer.q), body(layer.k), body(layer.v), body(layer.o), body(layer.gate), body(layer.up), body(layer.down);
}
/// 1 / sqrt(inputs).
double deviation(long inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); }

/// The weights, made once.
template <class C>
const FrozenLlama<C, float>& model_of() {
  using Weight = typename C::Weight;
  struct Memory {
    std::vector<float> ones = std::vector<float>(C::hidden, 1.0F);
    std::vector<AlignedBuffer<Weight>> matrices;
  };
  static const auto model = [] {
    const auto memory = std::make_shared<Memory>();
    FrozenWeights<C, float> weights;
    weights.for_each([&memory]<class Leaf>(const std::string&, Leaf& leaf) {
      using S = typename Leaf::shape;
      if constexpr (S::axes == 1)
        leaf = TensorView<const float, S>(memory->ones.data());
    });
    const auto make = [&memory]<class Leaf>(Leaf& leaf, std::uint32_t n, double scale) {
      using S = typename Leaf::shape;
      auto& matrix = memory->matrices.emplace_back(std::size_t(S::row_count * S::column_count));
      fill(TensorView<Weight, S>(matrix.data()), n, scale);
      leaf = TensorView<const Weight, S>(matrix.data());
    };
    make(weights.embedding, 0, C::embedding_deviation);
    weights.head = weights.embedding;
    for (std::uint32_t l = 0; l < C::layers; ++l) {
      std::uint32_t n = 1 + 21 * l;
      for_each_projection(weights.layers[l], [&](auto& leaf) {
        make(leaf, n, deviation(std::remove_reference_t<decltype(leaf)>::shape::column_count));
        n += 3;
      });
    }
    return FrozenLlama<C, float>(std::move(weights), memory);
  }();
  return model;
}

/// A model, an adapter, and everything a step changes.
template <class C>
struct Step {
  long rank;
  const FrozenLlama<C, float>& model = model_of<C>();
  AlignedBuffer<float> parameters, gradients, m, v;
  AdapterFactors<C, float> factors, slopes;
  std::vector<float> p;
  TrainingPass<C, float> pass;
  Batch batch;
  std::size_t steps = 0;

  explicit Step(long rank_used) : rank(rank_used), parameters(size()), gradients(size()), m(size()), v(size()),
        factors(parameters.data(), rank), slopes(gradients.data(), rank), p(static_cast<std::size_t>(rank), 2.0F) {
    for (std::uint32_t l = 0; l < C::layers; ++l) {
      std::uint32_t n = 2 + 21 * l;
      for_each_projection(factors.layers[l], [&n](auto& low_rank) {
        fill(low_rank.A, n, deviation(low_rank.A.rows()));
        fill(low_rank.B, n + 1, 0.01);
        n += 3;
      });
    }
    for (auto* buffer : {&m, &v}) std::ranges::fill(buffer->span(), 0.0F);
  }

  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(AdapterFactors<C, float>::count(rank)); }

  [[nodiscard]] double operations() const {
    constexpr double T = C::batch * C::sequence, q = C::heads * C::head_size, kv = C::kv_heads * C::head_size, d = C::hidden,
                     f = C::intermediate;
    constexpr double base = 2 * d * q + 2 * d * kv + 3 * d * f;
    const double adapter = static_cast<double>(rank) * (2 * (d + q) + 2 * (d + kv) + 3 * (d + f));
    return 4 * T * (C::layers * base + C::vocabulary * d) + 6 * T * C::layers * adapter + 3 * C::layers * (2 * T * q * C::sequence / 2);
  }

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
    const double loss = pass.run(model, factors, {p.data(), rank, 0}, slopes, batch, 1.0 / static_cast<double>(batch.counted));
    adamw_step<float>(parameters.span(), gradients.span(), m.span(), v.span(), ++steps, 1e-4, {.weight_decay = 0.01});
    return loss;
  }
};

template <class C>
void training_step(benchmark::State& state, Kind kind, long rank) {
  Step<C> step(kind == Kind::base ? 0 : rank);
  if (kind == Kind::matryoshka)  // a vector that really varies; the arithmetic is the same
    for (std::size_t i = 0; i < step.p.size(); ++i) step.p[i] = 2.0F / static_cast<float>(1 + i / 8);
  step.run();
  double loss = 0;
  for (auto _ : state) benchmark::DoNotOptimize(loss = step.run());
  bench::set_rate(state, "tokens/s", C::batch * C::sequence, 1);
  bench::set_rate(state, "GFLOP/s", step.operations());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["MB"] = static_cast<double>(usage.ru_maxrss) * 1.024e-3;  // at most, of the process so far
}

/// Losses of the first steps, for comparison with the peer.
template <class C>
void first_losses(benchmark::State& state) {
  Step<C> step(C::rank_);
  std::array<double, 3> loss{};
  for (auto _ : state)
    for (double& l : loss) l = step.run();
  for (std::size_t k = 0; k < loss.size(); ++k) state.counters["loss" + std::to_string(k)] = loss[k];
}

template <class C>
void add_benchmarks(const std::string& name, long rank = C::rank_) {
  const auto add = [&](const char* what, auto body) {
    return benchmark::RegisterBenchmark(("step/" + name + "/" + what).c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  if (rank == C::rank_) add("first_losses", first_losses<C>)->Iterations(1);
  add("lora", [rank](benchmark::State& state) { training_step<C>(state, Kind::lora, rank); });
  if (std::is_same_v<C, OneB>) return;  // minutes; 1b_bf16 has the others
  add("base", [rank](benchmark::State& state) { training_step<C>(state, Kind::base, rank); });
  add("matryoshka", [rank](benchmark::State& state) { training_step<C>(state, Kind::matryoshka, rank); });
}
}  // namespace

int main(int argc, char** argv) {
  add_benchmarks<Tiny>("tiny");
  add_benchmarks<Mid>("mid");
  add_benchmarks<Block>("block");
  add_benchmarks<Block>("block_r32", 32);
  add_benchmarks<OneB>("1b");
  add_benchmarks<OneBHalf>("1b_bf16");
  add_benchmarks<OneBHalf>("1b_bf16_r32", 32);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
