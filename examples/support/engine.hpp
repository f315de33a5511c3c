#pragma once
/// \file
/// A model on the device the user chose, as the programs see it. What it does is compiled apart, for each configuration and device
/// (instances/), so that programs compile in seconds and do not know which it is.
/// Errors  as the library's; UsageError for a device this build has no code for.

#include <filesystem>
#include <functional>
#include <linden/data/sample.hpp>
#include <linden/eval/sample_score.hpp>
#include <linden/graph/keep.hpp>
#include <linden/model/generate_options.hpp>
#include <linden/train/fine_tune_options.hpp>
#include <linden/train/process_group.hpp>
#include <memory>
#include <optional>
#include <span>

namespace linden::examples {

enum class DeviceKind { cpu, cuda };
enum class Compute { bf16, fp32 };  ///< what a GPU computes with; the CPU always with float
enum class AttentionBy { own, cudnn };  ///< whose attention a GPU runs; cudnn: where it serves (kernels/cudnn_attention.cuh)

struct EngineOptions {
  std::filesystem::path model;  ///< a Hugging Face directory
  DeviceKind device = DeviceKind::cpu;
  Compute compute = Compute::bf16;
  AttentionBy attention = AttentionBy::own;
  int gpu = 0;               ///< which GPU: this number modulo how many there are
  std::optional<Keep> keep;  ///< what training keeps for its backward passes; none: the device decides
};

/// A fine-tuning run.
class Training {
 public:
  Training() = default;
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;
  virtual ~Training() = default;
  [[nodiscard]] virtual std::size_t total_steps() const = 0;
  [[nodiscard]] virtual bool finished() const = 0;
  virtual StepReport step() = 0;
  /// Which samples the last step was made of.
  [[nodiscard]] virtual std::span<const std::size_t> samples_of_step() const = 0;
  /// As FineTuner's.
  virtual void save_state(const std::filesystem::path& file) = 0;
  virtual void resume(const std::filesystem::path& file) = 0;
  [[nodiscard]] virtual std::size_t steps_done() const = 0;
  /// Writes the adapter as a PEFT directory.
  virtual void save(const std::filesystem::path& directory, const std::string& base_model) = 0;
};

/// A model with an adapter, at any of its ranks; rank 0 is the base model alone.
class AdaptedModel {
 public:
  using Document = ScoredDocument;

  AdaptedModel() = default;
  AdaptedModel(const AdaptedModel&) = delete;
  AdaptedModel& operator=(const AdaptedModel&) = delete;
  virtual ~AdaptedModel() = default;
  [[nodiscard]] virtual const AdapterDescription& description() const = 0;
  /// As RankEvaluator's.
  virtual void score(std::span<const Document> documents, std::span<const int> ranks, const OnScores& on_scores) = 0;
  virtual void generate(std::span<const std::vector<std::int32_t>> prompts, std::span<const int> ranks,
                        const GenerateOptions& generation, const OnText& on_text) = 0;
};

/// \throw UsageError for a rank that the adapter does not have; 0, the base model, is always there.
inline void check_ranks(std::span<const int> ranks, const AdapterDescription& description) {
  for (const int r : ranks)
    if (r < 0 || r > description.full_rank) throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", description.full_rank));
}

/// What it makes must not outlive it.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;
  /// Positions of the model: tokens a sequence can have.
  [[nodiscard]] virtual long positions() const = 0;
  /// Tokens the model knows: ids are 0 to vocabulary() - 1.
  [[nodiscard]] virtual long vocabulary() const = 0;
  /// The samples and the group must outlive the run.
  [[nodiscard]] virtual std::unique_ptr<Training> fine_tune(std::span<const Sample> samples, const FineTuneOptions& options,
                                                            ProcessGroup& group = one_process()) = 0;
  /// With the adapter in a PEFT directory, or with none where `adapter` is empty.
  [[nodiscard]] virtual std::unique_ptr<AdaptedModel> adapted(const std::filesystem::path& adapter,
                                                              const EvaluationOptions& options) = 0;
};

/// Looks at the model, and at every weight once: what is not finite is refused. On a device they come where they are needed.
[[nodiscard]] std::unique_ptr<Engine> make_engine(const EngineOptions& options);

/// The engines it chooses from, one translation unit for each: instances/cpu.cpp.in and cuda.cu.in.
template <class C>
[[nodiscard]] std::unique_ptr<Engine> engine_on_cpu(const EngineOptions& options);
template <class C>
[[nodiscard]] std::unique_ptr<Engine> engine_on_cuda(const EngineOptions& options);

}  // namespace linden::examples
