// One whole training step on a GPU, optimiser included, and greedy generation at one rank and at nine in one pass: random weights
// of the real shapes, bfloat16, adapters of rank 16 on all seven projections (generation: 256).
//   build/cuda/bin/bench/kernels_step
// TFLOP/s are of the model: forward and backward of the base without its weights' gradients, three times the adapter, causal
// attention at half the square. base: the frozen base alone, forward and backward, no adapter.
#include <linden/eval/rank_evaluator.hpp>
#include <linden/model/llama_config.hpp>
#include <linden/train/llama_pass.hpp>

#include "../../kernels/fine_tune.cuh"
#include "kernels/device_bench.hpp"
#include "random_model.hpp"

namespace {
using namespace linden;

template <class C>
Batch packed(long length, long sequences_in_batch) {
  Batch batch;
  for (long s = 0; s < sequences_in_batch; ++s) {
    Sample sample;
    for (long t = 0; t < length; ++t) sample.ids.push_back(static_cast<std::int32_t>((t * 7919 + s * 104729) % C::vocabulary));
    sample.labels = sample.ids;
    batch.append(sample, static_cast<std::size_t>(length));
  }
  return batch;
}

/// Model operations for a token of sequences of `length`.
template <class C>
double operations_per_token(long length, long r) {
  const double kv = C::kv_heads * C::head_size, q = C::heads * C::head_size;
  const double base = 2 * C::hidden * q + 2 * C::hidden * kv + 3.0 * C::hidden * C::intermediate;
  const double adapter = static_cast<double>(r) * (2 * (C::hidden + q) + 2 * (C::hidden + kv) + 3.0 * (C::hidden + C::intermediate));
  return 4 * (C::layers * base + static_cast<double>(C::vocabulary) * C::hidden) + 6 * C::layers * adapter +
         6.0 * C::layers * q * static_cast<double>(length);
}

enum class Kind { base, lora, matryoshka };

template <class C, Kind K>
void training_step(benchmark::State& state) {
  const long length = state.range(0), count = state.range(1), r = K == Kind::base ? 0 : 16;
  bench::on_device(state, [&](cuda::Device& device) {
    using T = bfloat16;
    using Model = cuda::DeviceLlama<C, T>;
    const cuda::OnDevice backend(device);
    const Model model(bench::random_checkpoint<C>(false), device);
    std::vector<float> parameters(static_cast<std::size_t>(std::max(AdapterFactors<C, float>::count(r), 1L)));
    TorchUniform uniform(5);
    for (float& parameter : parameters) parameter = uniform(-0.01F, 0.01F);
    TrainedParameters<T, cuda::OnDevice> trained(parameters, backend);
    const AdapterFactors<C, T> factors(trained.values(), r);
    const AdapterFactors<C, float> gradients(trained.gradients(), r);
    std::vector<float> p(16, 1);
    for (std::size_t i = 0; K == Kind::matryoshka && i < p.size(); ++i) p[i] = 5.0F / static_cast<float>(1 + i);
    const Batch batch = packed<C>(length, count);
    AdapterPass<C, T, Keep::everything, cuda::OnDevice, Model> pass(backend);
    const double scale = 1.0 / static_cast<double>(batch.counted);
    double loss = 0;
    bench::time_on_device(state, device, [&] {
      trained.clear_gradients();
      pass.start();
      pass.add(model, factors, {p.data(), r, 0}, gradients, batch, scale);
      if (K != Kind::base) benchmark::DoNotOptimize(trained.update(1e-4, {}, 1.0));
      loss = pass.loss();
    });
    const double tokens_in_step = static_cast<double>(length * count);
    state.counters["loss"] = loss;
    bench::set_rate(state, "tokens/s", tokens_in_step, 1);
    bench::set_rate(state, "TFLOP/s", tokens_in_step * operations_per_token<C>(length, r), 1e12);
  });
}

/// 64 new tokens after a prompt of 128, at `state.range(0)` ranks together.
template <class C>
void generation(benchmark::State& state) {
  bench::on_device(state, [&](cuda::Device& device) {
    using Model = cuda::DeviceLlama<C, bfloat16>;
    const Model model(bench::random_checkpoint<C>(false), device);
    const std::vector<int> nine{256, 128, 64, 32, 16, 8, 4, 2, 1};
    LlamaAdapter<C, float> adapter({.kind = AdapterKind::dylora, .full_rank = 256, .train_ranks = RankSet({1, 2, 4, 8, 16, 32, 64, 128, 256})});
    TorchUniform uniform(1);
    for (float& parameter : adapter.parameters()) parameter = uniform(-0.005F, 0.005F);
    Generator<C, bfloat16, cuda::OnDevice, Model> generator(model, adapter, Inference::prefix, cuda::OnDevice(device));
    std::vector<Prompt> prompts;
    for (long k = 0; k < state.range(0); ++k) {
      prompts.push_back({{}, nine[static_cast<std::size_t>(k)]});
      for (std::int32_t t = 0; t < 128; ++t) prompts.back().ids.push_back(3 + t * 37 % 400);
    }
    GenerateOptions options;
    options.max_tokens = 64;
    bench::time_on_device(state, device, [&] { benchmark::DoNotOptimize(generator.run(prompts, options)); });
    bench::set_rate(state, "tokens/s/rank", 64, 1);
  });
}
}  // namespace

#define STEP(C, KIND, LENGTH, COUNT) \
  BENCHMARK(training_step<C, Kind::KIND>)->Name("step/" #C "/" #KIND)->Args({LENGTH, COUNT})->UseManualTime()->Unit(benchmark::kMillisecond)
STEP(Llama32_1B, base, 2048, 8);
STEP(Llama32_1B, lora, 2048, 8);
STEP(Llama32_1B, matryoshka, 2048, 8);
STEP(Llama31_8B, base, 4096, 2);
STEP(Llama31_8B, lora, 4096, 2);
STEP(Llama31_8B, matryoshka, 4096, 2);
BENCHMARK(generation<Llama32_1B>)->Name("generate/Llama32_1B")->Arg(1)->Arg(9)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_MAIN();
