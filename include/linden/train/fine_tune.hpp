#pragma once
/// \file
/// Fine-tuning an adapter: what happens in one optimiser step, exactly as the reference's Trainer does it.
///   micro-batches in the order of the epoch's permutation; loss = sum of cross-entropies / targets of the whole accumulated
///   batch; gradients clipped by their norm; AdamW; linear decay to zero.
/// What the adapter kinds differ in is the P of each micro-batch: one row for LoRA and MatryoshkaLoRA, a drawn prefix for DyLoRA
/// (whose other columns are not even computed), a row per token for the stratified kind (a rank per sequence).
/// Units   loss in nats per target; grad_norm before clipping; seconds of wall time.
/// Source  spec of the reference: arXiv:2605.07850 and Hugging Face Trainer 4.57.

#include <chrono>
#include <linden/adapter/rank_sampling.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/weighting_rows.hpp>
#include <linden/train/adamw.hpp>
#include <linden/train/bf16_reference.hpp>
#include <linden/train/llama_pass.hpp>
#include <linden/train/sample_order.hpp>
#include <linden/train/schedule.hpp>
#include <optional>

namespace linden {

/// What adapters, gradients and moments are: float, or bfloat16 as the published reference has them.
enum class Precision { fp32, bf16_reference };

struct FineTuneOptions {
  AdapterDescription adapter;
  RankWeighting rank_weights;  ///< stratified: how likely each train rank is
  Initialisation initialisation = Initialisation::reference;
  double learning_rate = 2e-4;
  double epochs = 3;
  std::size_t steps = 0;  ///< optimiser steps; 0: as many as the epochs have
  std::size_t batch = 4, accumulate = 4;
  std::uint64_t seed = 42;
  long max_length = 512;  ///< samples are cut to so many tokens where they are made
  double max_gradient_norm = 1;
  Precision precision = Precision::fp32;
  AdamWOptions adamw{};
};

/// What one optimiser step did.
struct StepReport {
  std::size_t step = 0;  ///< counts from 1
  double loss = 0, gradient_norm = 0, learning_rate = 0;
  std::size_t tokens = 0;
  double seconds = 0;
};

template <LlamaConfiguration C, Real T>
class FineTuner {
 public:
  /// The samples must outlive the tuner.
  FineTuner(const FrozenLlama<C, T>& model, std::span<const Sample> samples, const FineTuneOptions& options)
      : model_(model),
        samples_(samples),
        options_(options),
        adapter_(options.adapter),
        gradient_memory_(adapter_.parameters().size()),
        gradients_(gradient_memory_.data(), options.adapter.full_ranks()),
        m_(adapter_.parameters().size()),
        v_(adapter_.parameters().size()),
        order_(EpochPlan(samples.size(), options.batch, options.accumulate), options.seed),
        dylora_(options.adapter.train_ranks, options.seed),
        stratified_(options.adapter.train_ranks, options.rank_weights, options.seed),
        rows_(options.adapter),
        total_steps_(options.steps > 0 ? options.steps : linden::total_steps(options.epochs, order_.plan().steps())) {
    adapter_.initialise(options.initialisation, options.seed);
    for (auto* buffer : {&gradient_memory_, &m_, &v_}) std::ranges::fill(buffer->span(), T(0));
    if (options.precision == Precision::bf16_reference) {
      reference_.emplace(adapter_.parameters().size(), options.adapter.full_ranks());
      round_to_bf16(adapter_.parameters());
    }
    rows_.set(options.adapter.full_rank,
              options.adapter.kind == AdapterKind::matryoshka ? Inference::weighted : Inference::prefix);
  }

  [[nodiscard]] std::size_t total_steps() const { return total_steps_; }
  [[nodiscard]] std::size_t steps_done() const { return done_; }
  [[nodiscard]] bool finished() const { return done_ == total_steps_; }
  [[nodiscard]] LlamaAdapter<C, T>& adapter() { return adapter_; }

  /// One optimiser step. A step without any target changes nothing but counts.
  StepReport step() {
    const auto begin = std::chrono::steady_clock::now();
    StepReport report{.step = done_ + 1};
    const std::size_t per_epoch = order_.plan().steps();
    if (order_.epoch() != done_ / per_epoch || done_ == 0) order_.start_epoch(done_ / per_epoch);
    accumulate(done_ % per_epoch, report);
    report.learning_rate = options_.learning_rate * linear_schedule(done_, total_steps_);
    update(report);
    std::ranges::fill(gradient_memory_.span(), T(0));
    ++done_;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

 private:
  /// Buffers of Precision::bf16_reference: the factors with p in A, and the gradients of one micro-batch.
  struct Reference {
    Reference(std::size_t count, const ModuleRanks& ranks)
        : scaled_memory(count), micro_memory(count), ones(static_cast<std::size_t>(ranks.largest()), T(1)),
          scaled(scaled_memory.data(), ranks), micro(micro_memory.data(), ranks) {}
    AlignedBuffer<T> scaled_memory, micro_memory;
    std::vector<T> ones;
    AdapterFactors<C, T> scaled, micro;
  };

  /// Clips the gradients and steps.
  void update(StepReport& report) {
    const std::span<T> gradient = gradient_memory_.span();
    double factor = 1;
    if (reference_) {
      report.gradient_norm = clip_as_reference(gradients_, gradient, options_.max_gradient_norm);
    } else {
      report.gradient_norm = gradient_norm(std::span<const T>(gradient));
      factor = clip_factor(report.gradient_norm, options_.max_gradient_norm);
    }
    if (report.loss == 0 && report.gradient_norm == 0) return;
    adamw_step<T>(adapter_.parameters(), gradient, m_.span(), v_.span(), ++updates_, report.learning_rate, options_.adamw, factor);
    if (reference_)
      for (const std::span<T> stored : {adapter_.parameters(), m_.span(), v_.span()}) round_to_bf16(stored);
  }

  /// Loss and gradients of all micro-batches of a step.
  void accumulate(std::size_t step_of_epoch, StepReport& report) {
    const std::size_t micro_batches = order_.plan().micro_batches(step_of_epoch);
    long targets = 0;
    for (const std::size_t sample : order_.accumulation(step_of_epoch)) targets += count_targets(samples_[sample]);
    if (targets == 0) return;
    for (std::size_t m = 0; m < micro_batches; ++m) {
      batch_.clear();
      for (const std::size_t sample : order_.micro_batch(step_of_epoch, m)) batch_.append(samples_[sample], C::positions);
      report.tokens += batch_.tokens();
      report.loss += one_micro_batch(1.0 / static_cast<double>(targets));
    }
  }

  static long count_targets(const Sample& sample) {
    return std::ranges::count_if(sample.labels, [](std::int32_t label) { return label != Sample::ignored; });
  }

  double one_micro_batch(double scale) {
    const AdapterDescription& description = options_.adapter;
    if (description.kind == AdapterKind::dylora) {
      rows_.set(dylora_.next());
    } else if (description.kind == AdapterKind::stratified) {
      ranks_.resize(batch_.sequences());
      stratified_.next(ranks_);
      rows_.set(ranks_, batch_.offsets);
    }
    if (reference_) return one_reference_micro_batch(rows_.rows(), scale);
    return pass_.run(model_, adapter_.factors(), rows_.rows(), gradients_, batch_, scale);
  }

  double one_reference_micro_batch(const RankRows<T>& rows, double scale) {
    const bool folds_p = options_.adapter.kind == AdapterKind::matryoshka;
    std::ranges::fill(reference_->micro_memory.span(), T(0));
    if (folds_p)
      apply_p_as_reference<C, T>(adapter_.parameters(), reference_->scaled_memory.span(), reference_->scaled, rows);
    const double loss = pass_.run(model_, folds_p ? reference_->scaled : adapter_.factors(),
                                  folds_p ? RankRows<T>(reference_->ones.data(), rows.active()) : rows, reference_->micro, batch_, scale);
    accumulate_as_reference<C, T>(reference_->micro_memory.span(), reference_->micro, rows, folds_p, gradient_memory_.span());
    return loss;
  }

  FrozenLlama<C, T> model_;
  std::span<const Sample> samples_;
  FineTuneOptions options_;
  LlamaAdapter<C, T> adapter_;
  AlignedBuffer<T> gradient_memory_;
  AdapterFactors<C, T> gradients_;
  AlignedBuffer<T> m_, v_;
  SampleOrder order_;
  UniformRanks dylora_;
  StratifiedRanks stratified_;
  WeightingRows<T> rows_;
  std::size_t total_steps_, done_ = 0, updates_ = 0;
  std::vector<int> ranks_;
  Batch batch_;
  AdapterPass<C, T> pass_;
  std::optional<Reference> reference_;
};

}  // namespace linden
