#pragma once
/// \file
/// Fine-tuning an adapter: what happens in one optimiser step, exactly as the reference's Trainer does it.
///   micro-batches in the order of the epoch's permutation; loss = sum of cross-entropies / targets of the whole accumulated
///   batch; gradients clipped by their norm; AdamW; linear decay to zero.
/// What the adapter kinds differ in is the P of each micro-batch: one row for LoRA and MatryoshkaLoRA, a drawn prefix for DyLoRA
/// (whose other columns are not even computed), a row per token for the stratified kind (a rank per sequence).
/// Several processes make the step of one: each passes its share of the samples, the gradients are summed, all update alike.
/// Units   loss in nats per target; grad_norm before clipping; seconds of wall time.
/// Source  spec of the reference: arXiv:2605.07850 and Hugging Face Trainer 4.57.

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/weighting_rows.hpp>
#include <linden/train/bf16_reference.hpp>
#include <linden/train/fine_tune_options.hpp>
#include <linden/train/fine_tune_state.hpp>
#include <linden/train/parallel_pass.hpp>
#include <linden/train/process_group.hpp>
#include <linden/train/sample_order.hpp>
#include <linden/train/schedule.hpp>
#include <linden/train/trained_parameters.hpp>
#include <numeric>
#include <optional>

namespace linden {

/// Tokens of the largest micro-batch that `batch` of the samples can make.
[[nodiscard]] inline long largest_micro_batch(std::span<const Sample> samples, std::size_t batch) {
  std::vector<std::size_t> lengths;
  for (const Sample& sample : samples) lengths.push_back(sample.ids.size());
  const auto longest = lengths.begin() + static_cast<std::ptrdiff_t>(std::min(batch, lengths.size()));
  std::ranges::partial_sort(lengths, longest, std::greater());
  return static_cast<long>(std::accumulate(lengths.begin(), longest, std::size_t(0)));
}

/// T: what kernels compute with; on a device also bfloat16, with float masters. Memory for the largest micro-batch is taken when
/// the tuner is made; where its sequences are shared out between threads, when it is first seen.
template <LlamaConfiguration C, class T, Keep Policy = Keep::costly, class Backend = Host, class Model = FrozenLlama<C, T>>
class FineTuner {
  using Number = detail::Arithmetic<T>;

 public:
  using Pass = TrainingPass<C, T, Policy, Backend, Model>;  ///< what runs a micro-batch

  /// The samples and the group must outlive the tuner.
  FineTuner(const Model& model, std::span<const Sample> samples, const FineTuneOptions& options, Backend backend = Backend(),
            ProcessGroup& group = one_process())
      : model_(model),
        samples_(samples),
        options_(checked(options, group)),
        group_(&group),
        adapter_(initial(options)),
        trained_(adapter_.parameters(), backend),
        factors_(trained_.values(), options.adapter.full_ranks()),
        gradients_(trained_.gradients(), options.adapter.full_ranks()),
        order_(EpochPlan(samples.size(), options.batch, options.accumulate), options.seed),
        draws_{{options.adapter.train_ranks, options.seed}, {options.adapter.train_ranks, options.rank_weights, options.seed}},
        rows_(options.adapter),
        total_steps_(options.steps > 0 ? options.steps : linden::total_steps(options.epochs, order_.plan().steps())),
        pass_(backend) {
    if (options.precision == Precision::bf16_reference) reference_.emplace(trained_, options.adapter, backend);
    pass_.reserve(largest_micro_batch(samples, options.batch), options.adapter.full_ranks());
    rows_.set(options.adapter.full_rank,
              options.adapter.kind == AdapterKind::matryoshka ? Inference::weighted : Inference::prefix);
  }

  [[nodiscard]] std::size_t total_steps() const { return total_steps_; }  ///< optimiser steps of the whole run
  [[nodiscard]] std::size_t steps_done() const { return done_; }  ///< optimiser steps made, those that changed nothing included
  [[nodiscard]] bool finished() const { return done_ == total_steps_; }  ///< no step is left
  /// The adapter as it is now.
  [[nodiscard]] LlamaAdapter<C, Number>& adapter() {
    trained_.read();
    return adapter_;
  }

  /// Which samples the last step was made of.
  [[nodiscard]] std::span<const std::size_t> samples_of_step() const {
    return order_.accumulation((done_ - 1) % order_.plan().steps());
  }

  /// One optimiser step. A step without any target changes nothing but counts; so does one whose loss or gradients are not
  /// finite, which says so. A step that throws (no memory, say) was not made: nothing is changed, and it can be tried again.
  StepReport step() {
    const auto begin = std::chrono::steady_clock::now();
    StepReport report{.step = done_ + 1};
    report.learning_rate = options_.learning_rate * linear_schedule(done_, total_steps_);
    with_draws([&] { train(report); });
    ++done_;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

  /// Writes what a tuner made alike needs to go on from here.
  void save_state(const std::filesystem::path& file) {
    trained_.read();
    const auto moments = trained_.moments();
    write_fine_tune_state<Number>(file, done_, trained_.updates(), adapter_.parameters(), moments[0], moments[1]);
  }
  /// Goes on where `file` was saved by a tuner with the same model, samples and options: every later step has the bits it would
  /// have had there. Whether they are the same is the caller's to know; this refuses what does not fit, and is then as it was.
  /// Process 0 alone reads the file; how many processes there were when it was saved does not matter.
  void resume(const std::filesystem::path& file) {
    if (done_ > 0) throw UsageError("linden: FineTuner::resume: this run has made steps of its own");
    FineTuneState<Number> state;
    together(*group_, [&] {
      if (group_->index() == 0) state = readable_state(file);
    });
    share_fine_tune_state(*group_, state);
    with_draws([&] {
      for (std::size_t step = 0; step < state.steps; ++step) skip_draws(enter(step));
      trained_.restore(state);
    });
    done_ = state.steps;
  }

 private:
  static const FineTuneOptions& checked(const FineTuneOptions& options, const ProcessGroup& group) {
    if (options.precision == Precision::bf16_reference && group.size() > 1)
      throw UsageError(text("linden: bf16-reference rounds gradients as the reference's one process does; there are ", group.size()));
    return options;
  }

  [[nodiscard]] FineTuneState<Number> readable_state(const std::filesystem::path& file) {
    auto state = read_fine_tune_state<Number>(file, adapter_.parameters().size());
    if (state.steps > total_steps_)
      throw DataError(text(file.string(), ": was saved after ", state.steps, " steps, expected at most this run's ", total_steps_));
    return state;
  }

  static LlamaAdapter<C, Number> initial(const FineTuneOptions& options) {
    LlamaAdapter<C, Number> adapter(options.adapter);
    adapter.initialise(options.initialisation, options.seed);
    if (options.precision == Precision::bf16_reference) round_to_bf16(adapter.parameters());
    return adapter;
  }

  /// Clips the gradients and steps. \return their norm.
  double update(double learning_rate) {
    if (reference_) return reference_->update(learning_rate, options_.adamw, options_.max_gradient_norm);
    return trained_.update(learning_rate, options_.adamw, options_.max_gradient_norm);
  }

  /// The draws of ranks; each kind of adapter uses one of them or none.
  struct Draws {
    UniformRanks dylora;
    StratifiedRanks stratified;
  };
  /// Calls body(), which draws; where it throws, the same ranks will be drawn again.
  template <class Body>
  void with_draws(Body&& body) {
    const Draws before = draws_;
    try {
      body();
    } catch (...) {
      draws_ = before;
      throw;
    }
  }

  /// The gradients of a step, and the update, which comes last.
  void train(StepReport& report) {
    const std::size_t step_of_epoch = enter(done_);
    const long targets = targets_of(step_of_epoch);
    if (targets == 0) return;
    trained_.clear_gradients();
    accumulate(step_of_epoch, targets, report);
    report.loss = pass_.loss();
    group_->sum(std::span(&report.loss, 1));  // all have come this far, and started their sums
    trained_.finish_sums(*group_);
    report.gradient_norm = std::isfinite(report.loss) ? update(report.learning_rate) : std::numeric_limits<double>::quiet_NaN();
    report.applied = std::isfinite(report.gradient_norm);
  }

  /// Draws the order of an epoch at its first step. \return the number of the step in the epoch.
  std::size_t enter(std::size_t step) {
    const std::size_t per_epoch = order_.plan().steps();
    if (order_.epoch() != step / per_epoch) order_.start_epoch(step / per_epoch);
    return step % per_epoch;
  }

  [[nodiscard]] long targets_of(std::size_t step_of_epoch) const {
    long targets = 0;
    for (const std::size_t sample : order_.accumulation(step_of_epoch))
      targets += std::ranges::count_if(samples_[sample].labels, [](std::int32_t label) { return label != Sample::ignored; });
    return targets;
  }

  [[nodiscard]] std::size_t tokens_of(std::size_t step_of_epoch) const {
    std::size_t tokens = 0;
    for (const std::size_t sample : order_.accumulation(step_of_epoch)) tokens += samples_[sample].ids.size();
    return tokens;
  }

  /// Gradients of all micro-batches of a step: of this process's share of them.
  void accumulate(std::size_t step_of_epoch, long targets, StepReport& report) {
    pass_.start();
    report.tokens = tokens_of(step_of_epoch);
    TokenShares shares(report.tokens, group_->size());
    const std::size_t last = last_own_micro_batch(step_of_epoch, shares);
    LayerSums sums(*this);
    for (std::size_t m = 0; m < order_.plan().micro_batches(step_of_epoch); ++m) {
      const auto samples = order_.micro_batch(step_of_epoch, m);
      draw(samples.size());
      take_share(samples, shares);
      if (batch_.sequences() > 0) one_micro_batch(1.0 / static_cast<double>(targets), m == last ? sums.on_layer() : OnLayer());
    }
    sums.start_rest();
  }

  /// The sums of the gradients over all processes, started while the layers below are still computed, in pieces that are worth a
  /// message to every process.
  class LayerSums {
   public:
    static constexpr std::size_t message_bytes = std::size_t(1) << 17U;

    explicit LayerSums(FineTuner& tuner) : tuner_(tuner), first_(tuner.gradients_.span().size()), last_(first_) {}

    /// To be told of the layers of this process's last micro-batch in the step.
    [[nodiscard]] OnLayer on_layer() {
      if (tuner_.group_->size() == 1) return {};
      return [this](long l) {
        first_ = static_cast<std::size_t>(l) * tuner_.gradients_.span().size() / C::layers;
        if ((last_ - first_) * sizeof(Number) >= message_bytes * static_cast<std::size_t>(tuner_.group_->size())) start();
      };
    }
    /// Of layers that nobody told of, also.
    void start_rest() {
      first_ = 0;
      start();
    }

   private:
    void start() {
      if (last_ > first_) tuner_.trained_.start_sum(*tuner_.group_, first_, last_ - first_);
      last_ = first_;
    }

    FineTuner& tuner_;
    std::size_t first_, last_;  // gradients from first_ to last_ are there, those behind are on their way
  };

  /// The number of the last micro-batch of which this process has a share; that of none where it has no share at all.
  [[nodiscard]] std::size_t last_own_micro_batch(std::size_t step_of_epoch, TokenShares shares) const {
    std::size_t last = order_.plan().micro_batches(step_of_epoch);
    for (std::size_t m = 0; m < order_.plan().micro_batches(step_of_epoch); ++m)
      for (const std::size_t sample : order_.micro_batch(step_of_epoch, m))
        if (shares.next(samples_[sample].ids.size()) == group_->index()) last = m;
    return last;
  }

  /// The batch becomes this process's samples of a micro-batch, and the drawn ranks become theirs.
  void take_share(std::span<const std::size_t> samples, TokenShares& shares) {
    const bool rank_each = options_.adapter.kind == AdapterKind::stratified;
    batch_.clear();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Sample& sample = samples_[samples[i]];
      if (shares.next(sample.ids.size()) != group_->index()) continue;
      if (rank_each) ranks_[batch_.sequences()] = ranks_[i];
      batch_.append(sample, C::positions);
    }
    if (rank_each) ranks_.resize(batch_.sequences());
  }

  /// Ranks for the next micro-batch, of so many sequences: one for all (DyLoRA), one for each (stratified), or none.
  void draw(std::size_t sequences) {
    ranks_.clear();
    if (options_.adapter.kind == AdapterKind::dylora) {
      ranks_.push_back(draws_.dylora.next());
    } else if (options_.adapter.kind == AdapterKind::stratified) {
      ranks_.resize(sequences);
      draws_.stratified.next(ranks_);
    }
  }
  /// Draws what a step that was made before had drawn.
  void skip_draws(std::size_t step_of_epoch) {
    if (targets_of(step_of_epoch) == 0) return;
    for (std::size_t m = 0; m < order_.plan().micro_batches(step_of_epoch); ++m) draw(order_.micro_batch(step_of_epoch, m).size());
  }

  void one_micro_batch(double scale, const OnLayer& on_layer) {
    if (options_.adapter.kind == AdapterKind::dylora)
      rows_.set(ranks_.front());
    else if (options_.adapter.kind == AdapterKind::stratified)
      rows_.set(ranks_, batch_.offsets);
    if (!reference_) return pass_.add(model_, factors_, rows_.rows(), gradients_, batch_, scale, on_layer);
    const auto with = reference_->begin(rows_.rows());
    pass_.add(model_, with.factors, with.rows, with.gradients, batch_, scale);
    reference_->end(rows_.rows());
  }

  Model model_;
  std::span<const Sample> samples_;
  FineTuneOptions options_;
  ProcessGroup* group_;
  LlamaAdapter<C, Number> adapter_;
  TrainedParameters<T, Backend> trained_;
  AdapterFactors<C, T> factors_;
  AdapterFactors<C, Number> gradients_;
  SampleOrder order_;
  Draws draws_;
  WeightingRows<Number> rows_;
  std::size_t total_steps_, done_ = 0;
  std::vector<int> ranks_;
  Batch batch_;
  Pass pass_;
  std::optional<ReferenceTraining<C, T, Backend>> reference_;
};

}  // namespace linden
