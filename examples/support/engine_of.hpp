#pragma once
/// \file
/// The engine of one configuration on one device. A Runtime, made from EngineOptions, is the device:
///     element, Backend          what kernels compute with, where
///     Model<C>                  weights there: Model<C> load(const FrozenLlama<C, float>&)
///     backend(), free_bytes()   how much memory is left (nothing: do not ask)
///     policies                  of what is kept for backward, those that are compiled; the first that fits is taken

#include <linden/eval/rank_evaluator.hpp>
#include <linden/model/checkpoint.hpp>
#include <linden/train/fine_tune.hpp>
#include <array>
#include <utility>

#include "support/engine.hpp"

namespace linden::examples {

template <class C, class Runtime, Keep Policy>
class TrainingOf final : public Training {
 public:
  using Tuner = FineTuner<C, typename Runtime::element, Policy, typename Runtime::Backend, typename Runtime::template Model<C>>;

  TrainingOf(Runtime& runtime, const typename Runtime::template Model<C>& model, std::span<const Sample> samples,
             const FineTuneOptions& options, ProcessGroup& group)
      : tuner_(model, samples, options, runtime.backend(), group) {}
  [[nodiscard]] std::size_t total_steps() const override { return tuner_.total_steps(); }
  [[nodiscard]] bool finished() const override { return tuner_.finished(); }
  StepReport step() override { return tuner_.step(); }
  [[nodiscard]] std::span<const std::size_t> samples_of_step() const override { return tuner_.samples_of_step(); }
  void save_state(const std::filesystem::path& file) override { tuner_.save_state(file); }
  void resume(const std::filesystem::path& file) override { tuner_.resume(file); }
  [[nodiscard]] std::size_t steps_done() const override { return tuner_.steps_done(); }
  void save(const std::filesystem::path& directory, const std::string& base_model) override {
    tuner_.adapter().save(directory, base_model);
  }

 private:
  Tuner tuner_;
};

template <class C, class Runtime>
class AdaptedModelOf final : public AdaptedModel {
 public:
  AdaptedModelOf(Runtime& runtime, const typename Runtime::template Model<C>& model, LlamaAdapter<C, float> adapter,
                 const EvaluationOptions& options)
      : adapter_(std::move(adapter)), evaluator_(model, adapter_, options, runtime.backend()) {}
  [[nodiscard]] const AdapterDescription& description() const override { return adapter_.description(); }
  void score(std::span<const Document> documents, std::span<const int> ranks, const OnScores& on_scores) override {
    evaluator_.score(documents, ranks, on_scores);
  }
  void generate(std::span<const std::vector<std::int32_t>> prompts, std::span<const int> ranks, const GenerateOptions& generation,
                const OnText& on_text) override {
    evaluator_.generate(prompts, ranks, generation, on_text);
  }

 private:
  LlamaAdapter<C, float> adapter_;
  RankEvaluator<C, typename Runtime::element, typename Runtime::Backend, typename Runtime::template Model<C>> evaluator_;
};

template <class C, class Runtime>
class EngineOf final : public Engine {
 public:
  explicit EngineOf(const EngineOptions& options)
      : keep_(options.keep), stored_(open_llama<C, float>(options.model)), runtime_(options) {
    check_finite(stored_, options.model);
  }

  [[nodiscard]] long positions() const override { return C::positions; }
  [[nodiscard]] long vocabulary() const override { return C::vocabulary; }

  [[nodiscard]] std::unique_ptr<Training> fine_tune(std::span<const Sample> samples, const FineTuneOptions& options,
                                                    ProcessGroup& group) override {
    const auto& weights = model();
    const Keep keep = keep_ ? *keep_ : first_that_fits(samples, options);
    return with_policy(keep, [&]<Keep Policy>() -> std::unique_ptr<Training> {
      refuse_what_does_not_fit<Policy>(samples, options);
      return std::make_unique<TrainingOf<C, Runtime, Policy>>(runtime_, weights, samples, options, group);
    });
  }

  [[nodiscard]] std::unique_ptr<AdaptedModel> adapted(const std::filesystem::path& adapter,
                                                      const EvaluationOptions& options) override {
    auto loaded = adapter.empty() ? LlamaAdapter<C, float>({}) : LlamaAdapter<C, float>::load(adapter);
    return std::make_unique<AdaptedModelOf<C, Runtime>>(runtime_, model(), std::move(loaded), options);
  }

 private:
  using Model = typename Runtime::template Model<C>;

  /// The weights on the device, loaded when first asked for.
  const Model& model() {
    if (!model_) model_.emplace(runtime_.template load<C>(stored_));
    return *model_;
  }

  /// Calls body.operator()<Policy>() for one of the compiled policies.
  template <std::size_t I = 0, class Body>
  static auto with_policy(Keep keep, Body&& body) -> decltype(body.template operator()<Runtime::policies[0]>()) {
    if constexpr (I == Runtime::policies.size())
      throw UsageError("linden: what to keep for the backward pass: this device offers fewer choices, try auto");
    else if (keep == Runtime::policies[I])
      return body.template operator()<Runtime::policies[I]>();
    else
      return with_policy<I + 1>(keep, std::forward<Body>(body));
  }

  /// Bytes a run takes beside the weights.
  template <Keep Policy>
  static std::size_t bytes(std::span<const Sample> samples, const FineTuneOptions& options, std::size_t batch) {
    const ModuleRanks ranks = options.adapter.full_ranks();
    const auto parameters = static_cast<std::size_t>(AdapterFactors<C, float>::count(ranks));
    return TrainingOf<C, Runtime, Policy>::Tuner::Pass::bytes(largest_micro_batch(samples, batch), ranks) +
           parameters * (4 * sizeof(float) + sizeof(typename Runtime::element));
  }

  [[nodiscard]] Keep first_that_fits(std::span<const Sample> samples, const FineTuneOptions& options) {
    const std::optional<std::size_t> free = runtime_.free_bytes();
    for (const Keep keep : Runtime::policies)
      if (!free || with_policy(keep, [&]<Keep Policy>() { return bytes<Policy>(samples, options, options.batch); }) <= *free)
        return keep;
    return Runtime::policies.back();
  }

  /// \throw DeviceError naming the bytes, and the batch that would fit.
  template <Keep Policy>
  void refuse_what_does_not_fit(std::span<const Sample> samples, const FineTuneOptions& options) {
    const std::optional<std::size_t> free = runtime_.free_bytes();
    const std::size_t needed = bytes<Policy>(samples, options, options.batch);
    if (!free || needed <= *free) return;
    std::size_t fits = options.batch;
    while (fits > 0 && bytes<Policy>(samples, options, fits) > *free) --fits;
    throw DeviceError(text("linden: micro-batches of ", options.batch, " sequences (", largest_micro_batch(samples, options.batch),
                           " tokens at most) need ", needed, " bytes on the GPU beside the weights, ", *free, " are free; ",
                           fits > 0 ? text("--batch ", fits, " would fit") : text("not even one sequence would fit")));
  }

  std::optional<Keep> keep_;
  FrozenLlama<C, float> stored_;
  Runtime runtime_;
  std::optional<Model> model_;
};

/// The CPU.
struct HostRuntime {
  using element = float;
  using Backend = Host;
  template <class C>
  using Model = FrozenLlama<C, float>;
  static constexpr std::array policies{Keep::costly, Keep::inputs};  // to keep everything gains nothing here

  explicit HostRuntime(const EngineOptions&) {}
  [[nodiscard]] Host backend() const { return {}; }
  [[nodiscard]] std::optional<std::size_t> free_bytes() const { return std::nullopt; }
  template <class C>
  [[nodiscard]] FrozenLlama<C, float> load(const FrozenLlama<C, float>& stored) const {
    return stored;
  }
};

}  // namespace linden::examples
