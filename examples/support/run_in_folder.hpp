#pragma once
/// \file
/// One run of fine-tuning in its folder, by one process or many: from the start or from a saved state, until it is finished, asked to
/// stop, or of no use any more. Process 0 of the run's group alone reads and writes the folder.
/// Format  metrics.jsonl, a line a step; run.json (runs.hpp); state/ (run_states.hpp); in the end the adapter
/// Errors  as the library's; in all processes, where they have not all failed alike, by ProcessGroup::end_all.

#include <cstdio>
#include <functional>
#include <iostream>
#include <linden/train/sample_order.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "support/engine.hpp"
#include "support/json_lines.hpp"
#include "support/run_lock.hpp"
#include "support/run_states.hpp"
#include "support/runs.hpp"
#include "support/stop_signals.hpp"
#include "support/sweep.hpp"

namespace linden::examples {

/// What runs are made with.
struct RunInputs {
  Engine& engine;
  std::span<const Sample> samples;
  std::string model;  ///< as the adapter names its base
};

/// How a run is looked after; its result does not depend on it.
struct RunCare {
  std::size_t bad_steps = 3;     ///< it ends after so many steps whose loss or gradient was not finite
  std::size_t save_every = 500;  ///< steps between saved states; 0: only when interrupted
  bool resume = false;           ///< goes on from the newest state, if there is one
  bool timings = false;          ///< says what each process spent on computing and on the others
};

/// A run with all that it depends on.
struct PlannedRun {
  examples::SweepRun run;
  FineTuneOptions options;
  nlohmann::json settings;
  bool finished = false;  ///< before this program began
};

/// The line of metrics.jsonl for a step; one that was not applied names its rows of the data, which count from 1.
[[nodiscard]] inline nlohmann::ordered_json metrics_of(const StepReport& step, std::span<const std::size_t> samples) {
  nlohmann::ordered_json line{{"step", step.step},
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

/// How a run ended, as the program's exit status says it.
enum class RunEnd : int { finished = 0, not_finite = 3, interrupted = 4 };

/// Sees the steps of a run as they are made: its number, that of the run's first in this program, and some words.
using OnStep = std::function<void(std::size_t step, std::size_t first, const std::string& words)>;

/// One run, in its folder, which process 0 of the run's group reads and writes.
class RunInFolder {
 public:
  RunInFolder(const RunInputs& inputs, const RunCare& care, const PlannedRun& planned, ProcessGroup& group, const StopSignals& signals)
      : inputs_(inputs),
        care_(care),
        planned_(planned),
        folder_(planned.run.folder),
        group_(group),
        signals_(signals),
        epoch_(inputs.samples.size(), planned.options.batch, planned.options.accumulate),
        states_(folder_) {
    together(group_, [&] { training_ = inputs.engine.fine_tune(inputs.samples, planned.options, group); });
    together(group_, [&] {  // only then the folder is made: training may be refused
      if (writes()) lock_.emplace(folder_);
    });
  }

  RunEnd train(const OnStep& on_step) {
    const bool goes_on = care_.resume && resume();
    together(group_, [&] { begin(!goes_on); });
    const std::size_t first = training_->steps_done() + 1;
    const Traffic before = group_.traffic();
    while (!training_->finished()) {
      const StepReport step = training_->step();
      seconds_ += step.seconds;
      if (lock_) lock_->check();
      const auto line = metrics_of(step, training_->samples_of_step());
      if (metrics_) metrics_->write(line);
      count(line);
      if (bad_ == care_.bad_steps) return end_after_bad_steps();
      char words[64];
      std::snprintf(words, sizeof words, "loss %.4f  %.0f tokens/s", step.loss, static_cast<double>(totals_.tokens) / totals_.seconds);
      on_step(step.step, first, words);
      if (training_->finished()) break;
      if (stop_wanted()) return end_interrupted();
      if (care_.save_every > 0 && step.step % care_.save_every == 0) save_state();
    }
    if (care_.timings) gather_timings(before);
    if (writes()) finish();
    return RunEnd::finished;
  }

 private:
  [[nodiscard]] bool writes() const { return group_.index() == 0; }

  void begin(bool from_the_start) {
    if (!writes()) return;
    begin_run(folder_, planned_.settings, from_the_start);
    metrics_.emplace(folder_ / "metrics.jsonl");
  }
  void finish() {
    totals_.epochs = static_cast<double>(totals_.steps) / static_cast<double>(epoch_.steps());
    training_->save(folder_, inputs_.model);
    finish_run(folder_, planned_.settings, totals_);
    states_.remove_all();
  }

  /// Goes on from the newest state that can be read. \return false: there is none.
  bool resume() {
    std::vector<std::filesystem::path> files;
    together(group_, [&] {
      if (writes()) files = states_.newest_first();
    });
    const std::size_t count_of_files = std::stoul(from_first(group_, text(files.size())));
    files.resize(count_of_files);
    for (std::size_t k = 0; k < files.size(); ++k) {
      try {
        training_->resume(files[k]);
      } catch (const DataError& error) {
        if (k + 1 == files.size()) throw;
        if (writes()) std::cerr << error.what() << "; going on from the state before it\n";
        continue;
      }
      count_kept_metrics();
      if (writes())
        std::cerr << folder_.string() << ": goes on after step " << training_->steps_done() << " of " << training_->total_steps() << '\n';
      return true;
    }
    return false;
  }
  void count_kept_metrics() {
    together(group_, [&] {
      if (!writes()) return;
      for (const auto& line : keep_metrics(folder_ / "metrics.jsonl", training_->steps_done())) count(line);
    });
    bad_ = std::stoul(from_first(group_, text(bad_)));
  }

  /// Adds a line of the metrics to the totals.
  void count(const nlohmann::ordered_json& line) {
    totals_.steps = line.at("step");
    totals_.tokens += line.at("tokens").get<std::size_t>();
    totals_.seconds += line.at("seconds").get<double>();
    totals_.final_loss = line.at("loss").is_number() ? line.at("loss").get<double>() : std::numeric_limits<double>::quiet_NaN();
    bad_ += line.contains("applied") ? 1 : 0;
  }
  /// Whether any process was asked to stop.
  [[nodiscard]] bool stop_wanted() const {
    double asked = signals_.received() ? 1 : 0;
    group_.sum(std::span(&asked, 1));
    return asked > 0;
  }
  void save_state() const {
    if (writes()) states_.save(training_->steps_done(), [this](const std::filesystem::path& file) { training_->save_state(file); });
  }
  RunEnd end_after_bad_steps() const {
    if (writes())
      std::cerr << '\n' << folder_.string() << ": ended at step " << totals_.steps << ": the loss or the gradient of " << bad_
                << (bad_ == 1 ? " step" : " steps") << " was not finite (--bad-steps); metrics.jsonl names their rows of " << planned_.settings.at("data").at("path").get<std::string>()
                << ". Nothing was changed by them; a lower --lr may help, unless the model or these rows hold such numbers.\n";
    return RunEnd::not_finite;
  }
  RunEnd end_interrupted() const {
    save_state();
    if (writes())
      std::cerr << '\n' << folder_.string() << ": stopped after step " << totals_.steps << " of " << training_->total_steps()
                << "; its state is saved, the same command with --resume goes on\n";
    return RunEnd::interrupted;
  }

  /// What every process has spent on the steps of this program, into the totals.
  void gather_timings(const Traffic& before) {
    const Traffic now = group_.traffic();
    const double waiting = now.seconds - before.seconds;
    const nlohmann::json mine{{"process", group_.name(group_.index())},
                              {"computing_seconds", seconds_ - waiting},
                              {"waiting_seconds", waiting},
                              {"bytes_sent", now.bytes_sent - before.bytes_sent}};
    for (const std::string& one : group_.gather(mine.dump())) totals_.processes.push_back(nlohmann::json::parse(one));
  }

  const RunInputs& inputs_;
  const RunCare& care_;
  const PlannedRun& planned_;
  const std::filesystem::path& folder_;
  ProcessGroup& group_;
  const StopSignals& signals_;
  EpochPlan epoch_;
  std::unique_ptr<Training> training_;
  std::optional<RunLock> lock_;
  std::optional<JsonLines> metrics_;
  RunStates states_;
  RunTotals totals_;
  double seconds_ = 0;  // of the steps made by this program
  std::size_t bad_ = 0;
};

}  // namespace linden::examples
