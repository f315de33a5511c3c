// How do I fine-tune a Llama with an adapter that works at every rank?
//   cmake --build build/release --target finetune
//   build/release/bin/finetune --model DIR --data train.jsonl --adapter matryoshka --rank 16 --output DIR
// Writes a PEFT directory, metrics.jsonl (one line a step) and run.json (settings, totals). `evaluate` then measures
// every rank. Lists make a sweep, --lr 5e-5,8e-5 --seed 42,666: one run after the other, into DIR/lr5e-05-seed42 and so
// on. The same command again skips what is finished and does the rest; `report --sweep DIR` compares the runs.
// A step whose loss or gradient is not finite changes nothing; metrics.jsonl names its rows. After --bad-steps of them a run ends
// unfinished, and the program, after the other runs of its sweep, with status 3.
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/train/sample_order.hpp>

#include "support/device_options.hpp"
#include "support/fingerprint.hpp"
#include "support/json_lines.hpp"
#include "support/module_options.hpp"
#include "support/progress.hpp"
#include "support/runs.hpp"
#include "support/sweep.hpp"
#include "support/table.hpp"

namespace {
using namespace linden;

struct Arguments {
  examples::EngineOptions engine;
  std::string data, output;
  std::string adapter = "matryoshka", rank_weights = "aurac", scaling = "none", init = "reference", precision = "fp32";
  std::vector<std::string> targets, modules;
  std::vector<int> train_ranks;
  std::vector<double> learning_rates{2e-4};
  std::vector<long> seeds{42};
  int rank = 16;
  long limit = all_rows;
  std::size_t bad_steps = 3;
  FineTuneOptions options;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.engine.model, "Hugging Face model directory")->required();
  app.add_option("--data", a.data, "JSONL rows: question/answer, prompt/completion, or text")->required();
  app.add_option("--output", a.output, "directory for the adapter, metrics.jsonl and run.json, or for a sweep's runs")
      ->required();
  app.add_option("--adapter", a.adapter, "lora, dylora, matryoshka or stratified")->capture_default_str();
  app.add_option("--rank-weights", a.rank_weights, "stratified: aurac, log-aurac, uniform or one weight per train rank")
      ->capture_default_str();
  app.add_option("--rank", a.rank, "full rank R")->capture_default_str()->check(CLI::Range(1, 4096));
  examples::add_list(app, "--train-ranks", a.train_ranks, "ranks trained together (default: powers of two up to R)");
  app.add_option("--scaling", a.scaling, "s_r: none = 1, rank = 1/r, sqrt = 1/sqrt(r)")->capture_default_str();
  app.add_option("--init", a.init, "A: reference = U(1/sqrt(R)), peft = U(1/sqrt(in))")->capture_default_str();
  examples::add_list(app, "--lr", a.learning_rates, "learning rate, decays linearly to 0; several make a sweep");
  app.add_option("--target", a.targets, "kinds of modules to adapt, as q_proj,v_proj (default: all seven)")->delimiter(',');
  app.add_option("--module", a.modules, "a kind's own rank, and train ranks: down_proj=8 or down_proj=8:1,3,8; repeatable")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
  app.add_option("--precision", a.precision, "fp32: float masters; bf16-reference: bfloat16 adapters, gradients and moments")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "bf16-reference"}));
  app.add_option("--epochs", a.options.epochs, "passes over the data")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--steps", a.options.steps, "optimiser steps, instead of epochs");
  app.add_option("--bad-steps", a.bad_steps, "end a run after so many steps whose loss or gradient was not finite")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--limit", a.limit, "use the first ROWS rows only")->type_name("ROWS")->check(CLI::PositiveNumber);
  app.add_option("--batch", a.options.batch, "sequences in a micro-batch")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--accumulate", a.options.accumulate, "micro-batches in a step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  examples::add_list(app, "--seed", a.seeds, "of the sample order, the initial A and all draws; several make a sweep");
  app.add_option("--max-length", a.options.max_length, "samples are cut to so many tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  examples::add_device_options(app, a.engine);
  examples::add_keep_option(app, a.engine.keep);
}

/// The options the command line's words stand for; each run brings its own learning rate and seed.
FineTuneOptions options_of(const Arguments& a) {
  FineTuneOptions options = a.options;
  options.adapter.kind = parse_adapter_kind(a.adapter);
  options.adapter.scaling = parse_scaling(a.scaling);
  options.adapter.full_rank = a.rank;
  options.adapter.train_ranks =
      (a.train_ranks.empty() ? RankSet::powers_of_two(a.rank) : RankSet(a.train_ranks)).up_to(a.rank);
  options.rank_weights = RankWeighting::parse(a.rank_weights);
  options.initialisation = parse_initialisation(a.init);
  options.precision = a.precision == "fp32" ? Precision::fp32 : Precision::bf16_reference;
  examples::set_targets(options.adapter, a.targets);
  for (const std::string& module : a.modules) examples::set_module(options.adapter, module);
  return options;
}

nlohmann::json ranks_json(int rank, const RankSet& train_ranks) {
  return {{"rank", rank}, {"train_ranks", std::vector<int>(train_ranks.begin(), train_ranks.end())}};
}

/// What run.json records of these options, apart from the model and the data. Runs that agree in it are the same run.
nlohmann::json settings_of(const FineTuneOptions& options) {
  const AdapterDescription& adapter = options.adapter;
  nlohmann::json settings = ranks_json(adapter.full_rank, adapter.train_ranks);
  settings["kind"] = to_string(adapter.kind);
  settings["scaling"] = to_string(adapter.scaling);
  settings["initialisation"] = to_string(options.initialisation);
  for (std::size_t k = 0; k < module_kinds; ++k)
    if (const auto& own = adapter.own[k])
      settings["modules"][std::string(module_names[k])] = ranks_json(own->full_rank, own->train_ranks);
  if (adapter.kind == AdapterKind::stratified) settings["rank_weights"] = to_string(options.rank_weights);
  return {{"adapter", settings},
          {"learning_rate", options.learning_rate},
          {"steps", options.steps},
          {"batch", options.batch},
          {"precision", options.precision == Precision::fp32 ? "fp32" : "bf16-reference"},
          {"accumulate", options.accumulate},
          {"seed", options.seed},
          {"max_length", options.max_length}};
}

/// A run with all that it depends on.
struct PlannedRun {
  examples::SweepRun run;
  FineTuneOptions options;
  nlohmann::json settings;
  bool finished;  ///< before this program began
};

/// The runs to be made; refuses here, before anything is loaded or written, folders that hold other runs.
std::vector<PlannedRun> plan_runs(const Arguments& a, const std::vector<examples::SweepRun>& runs,
                                  const FineTuneOptions& common, std::span<const Sample> samples) {
  const auto where = [](const std::string& path) {
    return std::filesystem::absolute(path).lexically_normal().string();
  };
  const nlohmann::json model{{"path", where(a.engine.model.string())}, {"fingerprint", examples::fingerprint_of_model(a.engine.model)}};
  const nlohmann::json data{
      {"path", where(a.data)}, {"rows", samples.size()}, {"fingerprint", examples::fingerprint_of(samples)}};
  std::vector<PlannedRun> planned;
  for (const examples::SweepRun& run : runs) {
    FineTuneOptions options = common;
    options.learning_rate = run.learning_rate;
    options.seed = run.seed;
    nlohmann::json settings = settings_of(options);
    settings["model"] = model;
    examples::add_device(a.engine, settings);
    settings["data"] = data;
    const bool finished = examples::examine_run(run.folder, settings) == examples::RunState::finished;
    planned.push_back({run, options, std::move(settings), finished});
  }
  return planned;
}

/// The line of metrics.jsonl for a step; one that was not applied names its rows of the data, which count from 1.
nlohmann::json metrics_of(const StepReport& step, std::span<const std::size_t> samples) {
  nlohmann::json line{{"step", step.step},
                      {"loss", step.loss},
                      {"grad_norm", step.gradient_norm},
                      {"lr", step.learning_rate},
                      {"tokens", step.tokens},
                      {"seconds", step.seconds}};
  if (step.applied) return line;
  line["applied"] = false;
  for (const std::size_t sample : samples) line["rows"].push_back(sample + 1);
  return line;
}

/// Trains one adapter into its folder; `title` begins the progress line. \return false: too many steps were not finite.
bool train(const Arguments& a, const PlannedRun& planned, examples::Engine& engine, std::span<const Sample> samples,
           const std::string& title) {
  const auto training = engine.fine_tune(samples, planned.options);
  const std::filesystem::path& folder = planned.run.folder;
  examples::begin_run(folder, planned.settings);
  examples::JsonLines metrics(folder / "metrics.jsonl");
  examples::Progress progress(training->total_steps());
  examples::RunTotals totals;
  std::size_t bad = 0;
  while (!training->finished()) {
    const StepReport step = training->step();
    totals.steps = step.step;
    totals.tokens += step.tokens;
    totals.seconds += step.seconds;
    totals.final_loss = step.loss;
    metrics.write(metrics_of(step, training->samples_of_step()));
    if (!step.applied && ++bad == a.bad_steps) {
      std::cerr << '\n' << folder.string() << ": ended at step " << step.step << ": the loss or the gradient of " << bad
                << (bad == 1 ? " step" : " steps") << " was not finite (--bad-steps); metrics.jsonl names their rows of " << a.data
                << ". Nothing was changed by them; a lower --lr may help, unless the model or these rows hold such numbers.\n";
      return false;
    }
    char line[64];
    std::snprintf(line, sizeof line, "loss %.4f  %.0f tokens/s", step.loss,
                  static_cast<double>(totals.tokens) / totals.seconds);
    progress.update(step.step, title + line);
  }
  const EpochPlan epoch(samples.size(), planned.options.batch, planned.options.accumulate);
  totals.epochs = static_cast<double>(totals.steps) / static_cast<double>(epoch.steps());
  training->save(folder, a.engine.model.string());
  examples::finish_run(folder, planned.settings, totals);
  return true;
}

/// A line a run, from what the folders say.
void print_runs(const std::vector<PlannedRun>& planned) {
  examples::Table table({"run", "steps", "final loss", "seconds", "tokens/s", "made"});
  for (const PlannedRun& run : planned) {
    const nlohmann::json totals = examples::read_run(run.run.folder).totals;
    const auto number = [&](const char* key, int digits) {
      const nlohmann::json value = totals.is_object() ? totals.value(key, nlohmann::json()) : nlohmann::json();
      return value.is_number() ? examples::fixed(value.get<double>(), digits) : "-";
    };
    table.row(run.run.title(), number("steps", 0), number("final_loss", 4), number("seconds", 1),
              number("tokens_per_second", 0), run.finished ? "before" : "now");
  }
  std::cout << table;
}

/// \return the program's exit status.
int finetune(const Arguments& a) {
  const auto runs = examples::sweep_runs(a.learning_rates, a.seeds, a.output);
  FineTuneOptions options = options_of(a);
  const auto engine = examples::make_engine(a.engine);
  options.max_length = std::min(options.max_length, engine->positions());
  const auto samples = make_samples(Tokenizer::load(a.engine.model), read_jsonl(a.data, a.limit), options.max_length);
  if (options.steps == 0)
    options.steps = total_steps(options.epochs, EpochPlan(samples.size(), options.batch, options.accumulate).steps());
  const auto planned = plan_runs(a, runs, options, samples);

  int status = 0;
  for (std::size_t i = 0; i < planned.size(); ++i) {
    const PlannedRun& run = planned[i];
    if (run.finished) {
      std::cerr << run.run.folder.string() << ": is finished, skipped\n";
      continue;
    }
    const std::string title = runs.size() == 1 ? "" : text("run ", i + 1, "/", runs.size(), " ", run.run.title(), "  ");
    if (!train(a, run, *engine, samples, title)) status = 3;
  }
  if (runs.size() > 1) print_runs(planned);
  return status;
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a Llama with LoRA, DyLoRA, MatryoshkaLoRA or a rank per sequence.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&] { return finetune(a); });
}
