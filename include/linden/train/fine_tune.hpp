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
#include <linden/train/adamw.hpp>
#include <linden/train/llama_pass.hpp>
#include <linden/train/sample_order.hpp>
#include <linden/train/schedule.hpp>

namespace linden {

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
  /// The model and the samples must outlive the tuner.
  FineTuner(const Llama<C, T>& model, std::span<const Sample> samples, const FineTuneOptions& options)
      : model_(model),
        samples_(samples),
        options_(options),
        adapter_(options.adapter),
        gradient_memory_(adapter_.parameters().size()),
        gradients_(gradient_memory_.data(), options.adapter.full_rank),
        m_(adapter_.parameters().size()),
        v_(adapter_.parameters().size()),
        order_(EpochPlan(samples.size(), options.batch, options.accumulate), options.seed),
        dylora_(options.adapter.train_ranks, options.seed),
        stratified_(options.adapter.train_ranks, options.rank_weights, options.seed),
        total_steps_(options.steps > 0 ? options.steps : linden::total_steps(options.epochs, order_.plan().steps())) {
    adapter_.initialise(options.initialisation, options.seed);
    for (auto* buffer : {&gradient_memory_, &m_, &v_}) std::ranges::fill(buffer->span(), T(0));
    fixed_row_.resize(static_cast<std::size_t>(options.adapter.full_rank));
    if (options.adapter.kind == AdapterKind::matryoshka)
      matryoshka_weights(fixed_row_, options.adapter.train_ranks, options.adapter.scaling);
    else
      lora_weights(fixed_row_, options.adapter.scaling);
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
    report.gradient_norm = gradient_norm(std::span<const T>(gradient_memory_.span()));
    report.learning_rate = options_.learning_rate * linear_schedule(done_, total_steps_);
    if (report.loss != 0 || report.gradient_norm != 0)
      adamw_step<T>(adapter_.parameters(), gradient_memory_.span(), m_.span(), v_.span(), ++updates_, report.learning_rate,
                    options_.adamw, clip_factor(report.gradient_norm, options_.max_gradient_norm));
    std::ranges::fill(gradient_memory_.span(), T(0));
    ++done_;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

 private:
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
    RankRows<T> rows{fixed_row_.data(), description.full_rank, 0};
    if (description.kind == AdapterKind::dylora) {
      const long active = dylora_.next();
      prefix_row_.assign(static_cast<std::size_t>(active), static_cast<T>(description.scale_at(static_cast<int>(active))));
      rows = {prefix_row_.data(), active, 0};
    } else if (description.kind == AdapterKind::stratified) {
      const long widest = rows_per_sequence();
      rows = {token_rows_.data(), widest, widest};
    }
    return pass_.run(model_, adapter_.factors(), rows, gradients_, batch_, scale);
  }

  /// A rank for every sequence; each token's row of P is s_r on the first r columns. Returns the largest rank drawn.
  long rows_per_sequence() {
    ranks_.resize(batch_.sequences());
    stratified_.next(ranks_);
    const long widest = *std::ranges::max_element(ranks_);
    token_rows_.assign(batch_.tokens() * static_cast<std::size_t>(widest), T(0));
    for (std::size_t s = 0; s < ranks_.size(); ++s) {
      const T value = static_cast<T>(options_.adapter.scale_at(ranks_[s]));
      for (long t = batch_.offsets[s]; t < batch_.offsets[s + 1]; ++t)
        std::fill_n(token_rows_.data() + t * widest, ranks_[s], value);
    }
    return widest;
  }

  const Llama<C, T>& model_;
  std::span<const Sample> samples_;
  FineTuneOptions options_;
  LlamaAdapter<C, T> adapter_;
  AlignedBuffer<T> gradient_memory_;
  AdapterFactors<C, T> gradients_;
  AlignedBuffer<T> m_, v_;
  SampleOrder order_;
  UniformRanks dylora_;
  StratifiedRanks stratified_;
  std::size_t total_steps_, done_ = 0, updates_ = 0;
  std::vector<T> fixed_row_, prefix_row_, token_rows_;
  std::vector<int> ranks_;
  Batch batch_;
  AdapterPass<C, T> pass_;
};

}  // namespace linden
