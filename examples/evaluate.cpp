// How good is one adapter at each of its ranks?
//   cmake --build build/release --target evaluate
//   build/release/bin/evaluate --model DIR --adapter DIR --data test.jsonl --ranks 1,2,4,8,16 --metric exact_match
// Prints a table, and with --json writes {"metric", "ranks", "values", "base", "aurac", "log_aurac"}.
#include <linden/data/word_problems.hpp>
#include <linden/io/hf_config.hpp>
#include <linden/io/json_file.hpp>
#include <linden/model/select.hpp>

#include "support/cli.hpp"
#include "support/instances.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {
using namespace linden;

struct Arguments {
  std::string model, adapter, data, inference = "prefix", metric = "token_accuracy", json;
  std::vector<int> ranks;
  long limit = all_rows, max_length = 512;
  std::size_t max_tokens = 256, batch = 32;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.model, "Hugging Face model directory")->required();
  app.add_option("--adapter", a.adapter, "PEFT directory")->required();
  app.add_option("--data", a.data, "JSONL rows (default: unseen word problems of the demo's held-out kind)");
  examples::add_list(app, "--ranks", a.ranks, "ranks to measure (default: the adapter's train ranks)");
  app.add_option("--inference", a.inference, "prefix: s_r on the first r columns; weighted: MatryoshkaLoRA's p is kept")
      ->capture_default_str()
      ->check(CLI::IsMember({"prefix", "weighted"}));
  app.add_option("--metric", a.metric)
      ->capture_default_str()
      ->check(CLI::IsMember({"loss", "token_accuracy", "exact_match"}));
  app.add_option("--limit", a.limit, "use the first N rows only")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--max-length", a.max_length, "samples are cut to so many tokens")->capture_default_str();
  app.add_option("--max-tokens", a.max_tokens, "exact_match: new tokens per answer")->capture_default_str();
  app.add_option("--batch", a.batch, "sequences evaluated together")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--json", a.json, "also write the result here");
}

std::vector<Example> examples_of(const Arguments& a) {
  if (!a.data.empty()) return read_jsonl(a.data, a.limit);
  const ProblemKind kinds[] = {held_out_kinds().front()};
  std::vector<Example> list;
  const auto count = static_cast<std::size_t>(std::min(a.limit, 200L));
  for (const WordProblem& problem : make_problems(kinds, count, /*seed=*/1, ProblemSplit::test))
    list.push_back(question_example(problem.question, problem.answer, static_cast<long>(list.size())));
  return list;
}

template <class C>
void evaluate_adapter(const Arguments& a) {
  const auto tokenizer = Tokenizer::load(a.model);
  const auto rows = examples_of(a);
  const auto samples = make_samples(tokenizer, rows, std::min(a.max_length, C::positions));
  const auto model = load_llama<C, float>(a.model);
  const auto adapter = LlamaAdapter<C, float>::load(a.adapter);
  const RankSet ranks = a.ranks.empty() ? adapter.description().train_ranks : RankSet(a.ranks);
  const Inference inference = a.inference == "weighted" ? Inference::weighted : Inference::prefix;
  GenerateOptions generation{.max_tokens = a.max_tokens, .stop = read_eos_ids(a.model)};
  generation.stop.push_back(tokenizer.eos());

  RankEvaluator<C, float> evaluator(model, a.batch);
  const auto measure = [&](std::span<const float> row) {
    if (a.metric == "exact_match") return evaluator.exact_match(adapter, row, rows, tokenizer, generation);
    const TokenScores scores = evaluator.token_scores(adapter, row, samples);
    return a.metric == "loss" ? scores.loss : scores.accuracy;
  };
  examples::Progress progress(ranks.size() + 1);
  const std::vector<float> no_adapter{0.0F};
  const double base = measure(no_adapter);
  progress.update(1, "base");
  std::vector<double> values;
  for (const int r : ranks) {
    values.push_back(measure(inference_row<float>(adapter.description(), r, inference)));
    progress.update(1 + values.size(), text("rank ", r));
  }
  progress.clear();

  const double area = aurac(ranks, values), log_area = log_aurac(ranks, values);
  examples::Table table({"rank", a.metric});
  table.row("base", examples::fixed(base, 4));
  for (std::size_t i = 0; i < values.size(); ++i) table.row(ranks[i], examples::fixed(values[i], 4));
  table.row("AURAC", examples::fixed(area, 4));
  table.row("log-AURAC", examples::fixed(log_area, 4));
  std::cout << table;
  if (!a.json.empty())
    write_json(a.json, {{"metric", a.metric},
                        {"ranks", std::vector<int>(ranks.begin(), ranks.end())},
                        {"values", values},
                        {"base", base},
                        {"aurac", area},
                        {"log_aurac", log_area}});
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures an adapter at every rank, and the area under the rank-accuracy curve.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(
      argc, argv, app, [&] { with_configuration(a.model, [&]<class C>(C) { evaluate_adapter<C>(a); }); });
}
