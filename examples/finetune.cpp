// How do I fine-tune a Llama with an adapter that works at every rank?
//   cmake --build build/release --target finetune
//   build/release/bin/finetune --model DIR --data train.jsonl --adapter matryoshka --rank 16 --output DIR
// Writes a PEFT directory and metrics.jsonl (one line a step). `evaluate` then measures every rank.
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/model/select.hpp>


#include "support/cli.hpp"
#include "support/instances.hpp"
#include "support/json_lines.hpp"
#include "support/progress.hpp"

namespace {
using namespace linden;

struct Arguments {
  std::string model, data, output;
  std::string adapter = "matryoshka", rank_weights = "aurac", scaling = "none", init = "reference";
  std::vector<int> train_ranks;
  int rank = 16;
  long limit = all_rows;
  FineTuneOptions options;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.model, "Hugging Face model directory")->required();
  app.add_option("--data", a.data, "JSONL rows: question/answer, prompt/completion, or text")->required();
  app.add_option("--output", a.output, "directory for the adapter and metrics.jsonl")->required();
  app.add_option("--adapter", a.adapter, "lora, dylora, matryoshka or stratified")->capture_default_str();
  app.add_option("--rank-weights", a.rank_weights, "stratified: aurac, log-aurac, uniform or one weight per train rank")
      ->capture_default_str();
  app.add_option("--rank", a.rank, "full rank R")->capture_default_str()->check(CLI::Range(1, 4096));
  examples::add_list(app, "--train-ranks", a.train_ranks, "ranks trained together (default: powers of two up to R)");
  app.add_option("--scaling", a.scaling, "s_r: none = 1, rank = 1/r, sqrt = 1/sqrt(r)")->capture_default_str();
  app.add_option("--init", a.init, "A: reference = U(1/sqrt(R)), peft = U(1/sqrt(in))")->capture_default_str();
  app.add_option("--lr", a.options.learning_rate, "learning rate, decays linearly to 0")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--epochs", a.options.epochs, "passes over the data")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--steps", a.options.steps, "optimiser steps, instead of epochs");
  app.add_option("--limit", a.limit, "use the first ROWS rows only")->type_name("ROWS")->check(CLI::PositiveNumber);
  app.add_option("--batch", a.options.batch, "sequences in a micro-batch")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--accumulate", a.options.accumulate, "micro-batches in a step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", a.options.seed, "of the sample order, the initial A and all draws")->capture_default_str();
  app.add_option("--max-length", a.options.max_length, "samples are cut to so many tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
}

/// The options the command line's words stand for.
FineTuneOptions options_of(const Arguments& a) {
  FineTuneOptions options = a.options;
  options.adapter.kind = parse_adapter_kind(a.adapter);
  options.adapter.scaling = parse_scaling(a.scaling);
  options.adapter.full_rank = a.rank;
  options.adapter.train_ranks = (a.train_ranks.empty() ? RankSet::powers_of_two(a.rank) : RankSet(a.train_ranks)).up_to(a.rank);
  options.rank_weights = RankWeighting::parse(a.rank_weights);
  options.initialisation = parse_initialisation(a.init);
  return options;
}

template <class C>
void finetune(const Arguments& a) {
  const FineTuneOptions options = options_of(a);
  const auto tokenizer = Tokenizer::load(a.model);
  const auto samples =
      make_samples(tokenizer, read_jsonl(a.data, a.limit), std::min(options.max_length, C::positions));
  const auto model = load_llama<C, float>(a.model);
  FineTuner<C, float> tuner(model, samples, options);

  std::filesystem::create_directories(a.output);
  examples::JsonLines metrics(std::filesystem::path(a.output) / "metrics.jsonl");
  examples::Progress progress(tuner.total_steps());
  double seconds = 0;
  std::size_t tokens_seen = 0;
  while (!tuner.finished()) {
    const StepReport step = tuner.step();
    seconds += step.seconds;
    tokens_seen += step.tokens;
    metrics.write({{"step", step.step},
                   {"loss", step.loss},
                   {"grad_norm", step.gradient_norm},
                   {"lr", step.learning_rate},
                   {"tokens", step.tokens},
                   {"seconds", step.seconds}});
    char line[64];
    std::snprintf(line, sizeof line, "loss %.4f  %.0f tokens/s", step.loss, static_cast<double>(tokens_seen) / seconds);
    progress.update(step.step, line);
  }
  tuner.adapter().save(a.output, a.model);
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a Llama with LoRA, DyLoRA, MatryoshkaLoRA or a rank per sequence.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(
      argc, argv, app, [&] { with_configuration(a.model, [&]<class C>(C) { finetune<C>(a); }); });
}
