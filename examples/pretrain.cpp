// How is the demo checkpoint made?  Trains every weight of a small Llama from scratch on generated word problems.
//   cmake --build build/release --target pretrain
//   build/release/bin/pretrain --output examples/demo
// Never trained on here: the kinds that adapters are tuned on later (held_out_kinds). Only the tokenizer sees their
// questions (training split, no answers), to spell their words. One seed gives one model, whatever the thread count.
#include <linden/data/bpe_trainer.hpp>
#include <linden/data/dataset.hpp>
#include <linden/data/word_problems.hpp>
#include <linden/eval/exact_match.hpp>
#include <linden/model/save_llama.hpp>
#include <linden/train/adamw.hpp>
#include <linden/train/sample_order.hpp>

#include "support/cli.hpp"
#include "support/instances.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

extern template class linden::FullPass<linden::WordProblems, float>;  // examples/instances/full_pass.cpp

namespace {
using namespace linden;
using Config = WordProblems;
using Model = Llama<Config, float>;

struct Options {
  std::filesystem::path output;
  std::size_t steps = 1000, batch = 64, warmup = 100, problems = 40000;
  double learning_rate = 3e-3;
  std::uint64_t seed = 1;
};

std::vector<Example> examples_of(std::span<const ProblemKind> kinds, std::size_t count, std::uint64_t seed,
                                 ProblemSplit split) {
  std::vector<Example> list;
  for (const auto& p : make_problems(kinds, count, seed, split))
    list.push_back(question_example(p.question, p.answer, 0));
  return list;
}

/// Learns and writes the tokenizer. Each held-out kind counts about as much as a kind that is trained on.
Tokenizer make_tokenizer(const std::vector<Example>& problems, const Options& o) {
  std::vector<std::string> texts;
  for (const auto& e : problems) texts.insert(texts.end(), {e.prompt, e.answer});
  const auto held_out = examples_of(held_out_kinds(), o.problems / 4, o.seed, ProblemSplit::train);
  for (const auto& e : held_out) texts.push_back(e.question);
  std::filesystem::remove(o.output / "model.safetensors");  // it would not fit the new vocabulary
  write_tokenizer(train_bpe(texts, {.vocabulary = Config::vocabulary}), o.output, Config::positions);
  return Tokenizer::load(o.output);
}

/// Normal weights; those that write into the residual stream are smaller, as 2 * layers of them add up.
Model initial_model(std::uint64_t seed) {
  Model model = Model::random(seed);
  for (auto& layer : model.weights().layers)
    for (const auto weights : {layer.o.span(), layer.down.span()})
      for (float& w : weights) w /= std::sqrt(2.0F * Config::layers);
  return model;
}

void train(Model& model, const std::vector<Sample>& samples, const Options& o) {
  std::vector<float> gradient(model.parameters().size()), m(gradient), v(gradient);
  LlamaWeights<Config, float> gradients(gradient.data());
  SampleOrder order({samples.size(), o.batch, 1}, o.seed);
  const std::size_t epoch_steps = order.plan().steps();
  FullPass<Config, float> pass;
  Batch batch;
  examples::Progress progress(o.steps);
  double tokens_seen = 0;
  const double begin = examples::steady_seconds();
  for (std::size_t step = 0; step < o.steps; ++step) {
    if (step % epoch_steps == 0) order.start_epoch(step / epoch_steps);
    batch.clear();
    for (const std::size_t i : order.micro_batch(step % epoch_steps, 0)) batch.append(samples[i], Config::positions);
    std::ranges::fill(gradient, 0.0F);
    const double loss = pass.run(model, gradients, batch, 1.0 / static_cast<double>(batch.counted));
    const double clip = clip_factor(gradient_norm(std::span(gradient)), 1.0);
    const double rate = o.learning_rate * linear_schedule(step, o.steps, o.warmup);
    adamw_step<float>(model.parameters(), gradient, m, v, step + 1, rate, {.beta2 = 0.99, .weight_decay = 0.1}, clip);
    tokens_seen += static_cast<double>(batch.tokens());
    const double speed = tokens_seen / (examples::steady_seconds() - begin);
    progress.update(step + 1, text("loss ", examples::fixed(loss, 4), "  ", examples::fixed(speed, 0), " tokens/s"));
  }
}

void print_scores(const Model& model, const Tokenizer& tokenizer, std::uint64_t seed) {
  const LlamaAdapter<Config, float> no_adapter(AdapterDescription{.full_rank = 1, .train_ranks = RankSet{1}});
  RankEvaluator<Config, float> evaluator(model, no_adapter);
  const std::vector<int> base{0};
  examples::Table table({"kind", "answers right"});
  for (const auto kinds : {pretraining_kinds(), held_out_kinds()})
    for (const ProblemKind kind : kinds) {
      const auto unseen = examples_of({&kind, 1}, 200, seed, ProblemSplit::test);
      const double right =
          exact_match(evaluator, unseen, base, tokenizer, {.max_tokens = 48, .stop = {tokenizer.eos()}})[0];
      table.row(kind_name(kind), examples::fixed(100 * right, 1) + "%");
    }
  std::cout << table;
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains the demo Llama from scratch on generated word problems.");
  Options o;
  app.option_defaults()->always_capture_default();
  app.add_option("--output", o.output, "Hugging Face model directory to write")->required();
  app.add_option("--steps", o.steps, "optimiser steps")->check(examples::whole_number(1));
  app.add_option("--batch", o.batch, "problems a step")->check(examples::whole_number(1));
  app.add_option("--learning-rate", o.learning_rate, "peak, decays linearly to 0")->check(examples::positive_number());
  app.add_option("--warmup", o.warmup, "steps of rising learning rate")->check(examples::whole_number(0));
  app.add_option("--seed", o.seed, "of problems, weights and order")->check(examples::seed_number());
  app.add_option("--problems", o.problems, "different problems to train on")->check(examples::whole_number(1));
  return examples::run_program(argc, argv, app, [&] {
    const auto problems = examples_of(pretraining_kinds(), o.problems, o.seed, ProblemSplit::train);
    const Tokenizer tokenizer = make_tokenizer(problems, o);
    auto samples = make_samples(tokenizer, problems, Config::positions);
    for (Sample& sample : samples) sample.labels = sample.ids;  // questions are learned too: they train the embeddings
    Model model = initial_model(o.seed);
    train(model, samples, o);
    save_llama(model, o.output, {.bos = tokenizer.bos(), .eos = tokenizer.eos()});
    print_scores(model, tokenizer, o.seed);
  });
}
