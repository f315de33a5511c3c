// What do nine ranks in one pass cost, against one rank and against nine passes?
//   LINDEN_MODEL=DIR build/release/bin/bench/eval_ranks
// DIR is any model the programs are compiled for; its adapter is random, of rank 256. Generation: 64 tokens after a
// prompt of 8 (which is itself bound by arithmetic: nine ranks read it nine times). Scoring: 256 tokens. `ranks` is
// what goes through the model together.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "support/instances.hpp"

namespace {
using namespace linden;

const std::vector<int> nine_ranks{1, 2, 4, 8, 16, 32, 64, 128, 256};

template <class C>
struct Loaded {
  FrozenLlama<C, float> model;
  LlamaAdapter<C, float> adapter{{.kind = AdapterKind::dylora, .full_rank = 256, .train_ranks = RankSet(nine_ranks)}};

  explicit Loaded(const std::string& directory) : model(open_llama<C, float>(directory)) {
    TorchUniform uniform(1);
    for (float& parameter : adapter.parameters()) parameter = uniform(-0.005F, 0.005F);
  }
};

std::vector<std::int32_t> some_tokens(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>(3 + i * 37 % 400);
  return ids;
}

template <class C>
void generate(benchmark::State& state, Loaded<C>& loaded, const std::vector<int>& ranks, bool together) {
  GenerateOptions options;
  options.max_tokens = 64;
  std::vector<Prompt> prompts;
  for (const int r : ranks) prompts.push_back({some_tokens(8), r});
  Generator<C, float> generator(loaded.model, loaded.adapter);
  for (auto _ : state) {
    if (together) benchmark::DoNotOptimize(generator.run(prompts, options));
    for (std::size_t k = 0; !together && k < prompts.size(); ++k)
      benchmark::DoNotOptimize(generator.run(std::span(&prompts[k], 1), options));
  }
  state.counters["ranks"] = static_cast<double>(ranks.size());
}

template <class C>
void score(benchmark::State& state, Loaded<C>& loaded, const std::vector<int>& ranks, bool together) {
  using Evaluator = RankEvaluator<C, float>;
  Sample sample{some_tokens(256), some_tokens(256), 0};
  const std::vector<typename Evaluator::Document> documents{{sample}};
  Evaluator evaluator(loaded.model, loaded.adapter, {.chunk = 256 * ranks.size()});
  for (auto _ : state) {
    if (together) benchmark::DoNotOptimize(evaluator.total(documents, ranks));
    for (std::size_t k = 0; !together && k < ranks.size(); ++k)
      benchmark::DoNotOptimize(evaluator.total(documents, std::span(&ranks[k], 1)));
  }
  state.counters["ranks"] = static_cast<double>(ranks.size());
}

template <class C>
void add_benchmarks(const std::string& directory) {
  static Loaded<C> loaded(directory);
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond)->UseRealTime();
  };
  add("generate/one_rank", [](benchmark::State& s) { generate<C>(s, loaded, {256}, true); });
  add("generate/nine_ranks_in_one_pass", [](benchmark::State& s) { generate<C>(s, loaded, nine_ranks, true); });
  add("generate/nine_passes", [](benchmark::State& s) { generate<C>(s, loaded, nine_ranks, false); });
  add("score/one_rank", [](benchmark::State& s) { score<C>(s, loaded, {256}, true); });
  add("score/nine_ranks_in_one_pass", [](benchmark::State& s) { score<C>(s, loaded, nine_ranks, true); });
  add("score/nine_passes", [](benchmark::State& s) { score<C>(s, loaded, nine_ranks, false); });
}
}  // namespace

int main(int argc, char** argv) {
  const char* directory = std::getenv("LINDEN_MODEL");
  if (directory == nullptr) {
    std::fputs("eval_ranks: set LINDEN_MODEL to a Hugging Face model directory\n", stderr);
    return 2;
  }
  try {
    with_configuration<CompiledConfigurations>(directory, [&]<class C>(C) { add_benchmarks<C>(directory); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "eval_ranks: %s\n", error.what());
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
