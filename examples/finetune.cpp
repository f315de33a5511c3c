// How do I fine-tune a Llama with an adapter that works at every rank?
//   cmake --build build/release --target finetune
//   build/release/bin/finetune --model DIR --data train.jsonl --adapter matryoshka --rank 16 --output DIR
// Writes a PEFT directory, metrics.jsonl (one line a step) and run.json (settings, totals). `evaluate` then measures
// every rank. Lists make a sweep, --lr 5e-5,8e-5 --seed 42,666: one run after the other, into DIR/lr5e-05-seed42 and so
// on. The same command again skips what is finished and does the rest; `report --sweep DIR` compares the runs.
// A step whose loss or gradient is not finite changes nothing; metrics.jsonl names its rows. After --bad-steps of them a run ends
// unfinished, and the program, after the other runs of its sweep, with status 3. SIGINT, SIGTERM or SIGUSR1: the step is finished,
// the state saved, status 4; so is the state every --save-every steps, for what cannot be caught. --resume goes on with the same bits.
// Under a launcher of MPI (LINDEN_MPI=ON), mpirun -np 4 finetune ..., the processes share out the sequences of every step, or, of a
// sweep with at least as many runs as processes, the runs. Process 0 alone reads and writes what is in --output.
#include <linden/data/dataset.hpp>
#include <linden/train/sample_order.hpp>

#include "support/device_options.hpp"
#include "support/fingerprint.hpp"
#include "support/model_tokenizer.hpp"
#include "support/module_options.hpp"
#include "support/processes.hpp"
#include "support/progress.hpp"
#include "support/run_in_folder.hpp"
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
  double patience = 45;
  examples::RunCare care;
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
  app.add_option("--rank", a.rank, "full rank R")->capture_default_str()->check(examples::whole_number(1, 4096));
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
      ->check(examples::positive_number());
  app.add_option("--steps", a.options.steps, "optimiser steps, instead of epochs")->check(examples::whole_number(1));
  app.add_option("--bad-steps", a.care.bad_steps, "end a run after so many steps whose loss or gradient was not finite")
      ->capture_default_str()
      ->check(examples::whole_number(1));
  app.add_option("--save-every", a.care.save_every, "steps between saved states, which --resume goes on from; 0: only when interrupted")
      ->capture_default_str()
      ->check(examples::whole_number(0));
  app.add_flag("--resume", a.care.resume, "go on with unfinished runs from their newest saved state, instead of starting over");
  app.add_option("--limit", a.limit, "use the first ROWS rows only")->type_name("ROWS")->check(examples::whole_number(1));
  app.add_option("--batch", a.options.batch, "sequences in a micro-batch")
      ->capture_default_str()
      ->check(examples::whole_number(1));
  app.add_option("--accumulate", a.options.accumulate, "micro-batches in a step")
      ->capture_default_str()
      ->check(examples::whole_number(1));
  examples::add_list(app, "--seed", a.seeds, "of the sample order, the initial A and all draws; several make a sweep");
  app.add_option("--max-length", a.options.max_length, "samples are cut to so many tokens")
      ->capture_default_str()
      ->check(examples::whole_number(2));
  app.add_flag("--timings", a.care.timings, "say what each process spent on computing and on the others; also in run.json");
  examples::add_patience(app, a.patience);
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

/// All that is known before the first step.
struct Work {
  std::unique_ptr<examples::Engine> engine;
  std::vector<Sample> samples;
  std::vector<examples::PlannedRun> runs;
};

std::vector<examples::PlannedRun> plan_runs(const Arguments& a, const std::vector<examples::SweepRun>& runs, const FineTuneOptions& common,
                                  std::span<const Sample> samples) {
  const auto where = [](const std::string& path) {
    return std::filesystem::absolute(path).lexically_normal().string();
  };
  const nlohmann::json model{{"path", where(a.engine.model.string())}, {"fingerprint", examples::fingerprint_of_model(a.engine.model)}};
  const nlohmann::json data{
      {"path", where(a.data)}, {"rows", samples.size()}, {"fingerprint", examples::fingerprint_of(samples)}};
  std::vector<examples::PlannedRun> planned;
  for (const examples::SweepRun& run : runs) {
    FineTuneOptions options = common;
    options.learning_rate = run.learning_rate;
    options.seed = run.seed;
    nlohmann::json settings = settings_of(options);
    settings["model"] = model;
    examples::add_device(a.engine, settings);
    settings["data"] = data;
    planned.push_back({run, options, std::move(settings)});
  }
  return planned;
}

Work load(const Arguments& a, const ProcessGroup& group) {
  Work work;
  examples::EngineOptions engine = a.engine;
  engine.gpu = group.index_on_host();
  const auto runs = examples::sweep_runs(a.learning_rates, a.seeds, a.output);
  FineTuneOptions options = options_of(a);
  work.engine = examples::make_engine(engine);
  options.max_length = std::min(options.max_length, work.engine->positions());
  work.samples = make_samples(examples::load_tokenizer(a.engine, *work.engine), read_jsonl(a.data, a.limit), options.max_length);
  if (options.steps == 0)
    options.steps = total_steps(options.epochs, EpochPlan(work.samples.size(), options.batch, options.accumulate).steps());
  work.runs = plan_runs(a, runs, options, work.samples);
  return work;
}

/// Loads all, in processes that were started alike; refuses, before anything is written, folders that hold other runs.
Work prepare(const Arguments& a, ProcessGroup& group) {
  Work work;
  together(group, [&] { work = load(a, group); });
  nlohmann::json started = work.runs.front().settings;
  started.update({{"lr", a.learning_rates}, {"seeds", a.seeds}, {"bad_steps", a.care.bad_steps}, {"save_every", a.care.save_every},
                  {"resume", a.care.resume}, {"timings", a.care.timings}});
  examples::agree(group, std::move(started));
  std::string finished;
  together(group, [&] {
    if (group.index() != 0) return;
    for (const examples::PlannedRun& run : work.runs)
      finished += examples::examine_run(run.run.folder, run.settings) == examples::RunState::finished ? '1' : '0';
  });
  finished = from_first(group, finished);
  for (std::size_t i = 0; i < work.runs.size(); ++i) work.runs[i].finished = finished[i] == '1';
  return work;
}

/// A line a run, from what the folders say.
void print_runs(const std::vector<examples::PlannedRun>& planned) {
  examples::Table table({"run", "steps", "final loss", "seconds", "tokens/s", "made"});
  for (const examples::PlannedRun& run : planned) {
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

/// A line a process of every run, from what the folders say.
void print_timings(const std::vector<examples::PlannedRun>& planned) {
  examples::Table table({"run", "process", "computing s", "waiting s", "MB sent"});
  for (const examples::PlannedRun& run : planned) {
    const nlohmann::json totals = examples::read_run(run.run.folder).totals;
    if (!totals.is_object()) continue;
    for (const nlohmann::json& one : totals.value("processes", nlohmann::json::array()))
      table.row(run.run.title(), one.at("process").get<std::string>(), examples::fixed(one.at("computing_seconds"), 2),
                examples::fixed(one.at("waiting_seconds"), 2), examples::fixed(one.at("bytes_sent").get<double>() / 1e6, 2));
  }
  std::cout << table;
}

/// The worst end; a run that was interrupted ends the program.
class Ends {
 public:
  void add(examples::RunEnd end) { worst_ = std::max(worst_, end); }
  [[nodiscard]] bool interrupted() const { return worst_ == examples::RunEnd::interrupted; }
  [[nodiscard]] examples::RunEnd worst() const { return worst_; }

 private:
  examples::RunEnd worst_ = examples::RunEnd::finished;
};

/// One run after the other, each by all processes.
examples::RunEnd train_in_turn(const Arguments& a, const Work& work, ProcessGroup& group, const examples::StopSignals& signals) {
  const examples::RunInputs inputs{*work.engine, work.samples, a.engine.model.string()};
  Ends ends;
  for (std::size_t i = 0; i < work.runs.size() && !ends.interrupted(); ++i) {
    const examples::PlannedRun& run = work.runs[i];
    if (run.finished) continue;
    const std::string title = work.runs.size() == 1 ? "" : text("run ", i + 1, "/", work.runs.size(), " ", run.run.title(), "  ");
    std::optional<examples::Progress> progress;
    ends.add(examples::RunInFolder(inputs, a.care, run, group, signals).train([&](std::size_t step, std::size_t first, const std::string& words) {
      if (group.index() != 0) return;
      if (!progress) progress.emplace(run.options.steps, examples::ProgressStyle{.start = first - 1});
      progress->update(step, title + words);
    }));
  }
  return ends.worst();
}

/// Every process takes runs of its own; process 0 shows how far all of them are.
examples::RunEnd deal_runs(const Arguments& a, const Work& work, ProcessGroup& group, const examples::StopSignals& signals) {
  std::vector<const examples::PlannedRun*> left;
  for (const examples::PlannedRun& run : work.runs)
    if (!run.finished) left.push_back(&run);
  if (left.empty()) return examples::RunEnd::finished;
  const auto processes = static_cast<std::size_t>(group.size()), index = static_cast<std::size_t>(group.index());

  std::optional<examples::Progress> progress;
  if (index == 0) progress.emplace(left.size() * work.runs.front().options.steps);
  std::vector<std::size_t> steps(processes);
  std::string words;
  const OnReport on_report = [&](int process, const std::string& report) {
    steps[static_cast<std::size_t>(process)] = std::stoul(report);
    progress->update(std::accumulate(steps.begin(), steps.end(), std::size_t(0)), words);
  };
  const examples::RunInputs inputs{*work.engine, work.samples, a.engine.model.string()};
  Ends ends;
  std::size_t done = 0;
  double reported = 0;
  for (std::size_t i = index; i < left.size() && !ends.interrupted(); i += processes) {
    ends.add(examples::RunInFolder(inputs, a.care, *left[i], one_process(), signals).train([&](std::size_t step, std::size_t, const std::string& said) {
      done = i / processes * left[i]->options.steps + step;
      if (const double now = examples::steady_seconds(); now - reported > 0.1) {
        words = text(left.size(), " runs by ", processes, " processes  ", left[i]->run.title(), "  ", said);
        group.report(text(done), on_report);
        reported = now;
      }
    }));
  }
  group.report(text(done), on_report);
  group.end_reports(on_report);
  for (const std::string& end : group.gather(text(static_cast<int>(ends.worst())))) ends.add(static_cast<examples::RunEnd>(std::stoi(end)));
  return ends.worst();
}

/// \return the program's exit status.
int finetune(const Arguments& a, ProcessGroup& group) {
  group.set_patience(a.patience);
  const Work work = prepare(a, group);
  for (const examples::PlannedRun& run : work.runs) {
    if (!run.finished || group.index() != 0) continue;
    std::cerr << run.run.folder.string() << ": is finished, skipped\n";
    examples::RunStates(run.run.folder).remove_all();  // one that was killed just after it finished has left them
  }
  const examples::StopSignals signals;
  const auto between_gpus = a.engine.device == examples::DeviceKind::cuda ? examples::sums_between_gpus(group) : nullptr;
  const bool deal = group.size() > 1 && work.runs.size() >= static_cast<std::size_t>(group.size());
  const examples::RunEnd end = deal ? deal_runs(a, work, group, signals) : train_in_turn(a, work, group, signals);
  if (group.index() == 0 && work.runs.size() > 1 && end != examples::RunEnd::interrupted) print_runs(work.runs);
  if (group.index() == 0 && a.care.timings) print_timings(work.runs);
  return static_cast<int>(end);
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a Llama with LoRA, DyLoRA, MatryoshkaLoRA or a rank per sequence.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&](linden::ProcessGroup& group) { return finetune(a, group); }, std::cout,
                                       std::cerr, linden::examples::processes);
}
