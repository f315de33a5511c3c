// What do nine ranks in one pass cost, against one rank? Random weights of Llama-3.2-1B's shape in bfloat16, a random adapter of
// rank 256. Generation: 32 tokens after a prompt of 8 (which is itself bound by arithmetic: nine ranks read it nine times).
// Scoring: 128 tokens. tokens/s are of all ranks together.
//   build/release/bin/bench/eval_ranks
#include <linden/eval/rank_evaluator.hpp>
#include <linden/model/llama_config.hpp>

#include "random_model.hpp"
#include "rate.hpp"

namespace {
using namespace linden;
using C = Llama32_1B;

const std::vector<int> nine_ranks{1, 2, 4, 8, 16, 32, 64, 128, 256};

struct Loaded {
  FrozenLlama<C, float> model = bench::random_checkpoint<C>(true);
  LlamaAdapter<C, float> adapter{{.kind = AdapterKind::dylora, .full_rank = 256, .train_ranks = RankSet(nine_ranks)}};

  Loaded() {
    TorchUniform uniform(1);
    for (float& parameter : adapter.parameters()) parameter = uniform(-0.005F, 0.005F);
  }
};
const Loaded& loaded() {
  static const Loaded once;
  return once;
}

std::vector<std::int32_t> some_tokens(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>(3 + i * 37 % 400);
  return ids;
}

void generate(benchmark::State& state, const std::vector<int>& ranks) {
  GenerateOptions options;
  options.max_tokens = 32;
  std::vector<Prompt> prompts;
  for (const int r : ranks) prompts.push_back({some_tokens(8), r});
  Generator<C, float> generator(loaded().model, loaded().adapter);
  for (auto _ : state) benchmark::DoNotOptimize(generator.run(prompts, options));
  bench::set_rate(state, "tokens/s", 32.0 * static_cast<double>(ranks.size()), 1);
}

void score(benchmark::State& state, const std::vector<int>& ranks) {
  using Evaluator = RankEvaluator<C, float>;
  Sample sample{some_tokens(128), some_tokens(128), 0};
  const std::vector<typename Evaluator::Document> documents{{sample}};
  Evaluator evaluator(loaded().model, loaded().adapter, {.chunk = 128 * ranks.size()});
  for (auto _ : state) benchmark::DoNotOptimize(evaluator.total(documents, ranks));
  bench::set_rate(state, "tokens/s", 128.0 * static_cast<double>(ranks.size()), 1);
}
}  // namespace

BENCHMARK_CAPTURE(generate, one_rank, std::vector{256})->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(generate, nine_ranks_in_one_pass, nine_ranks)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(score, one_rank, std::vector{256})->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(score, nine_ranks_in_one_pass, nine_ranks)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_MAIN();
