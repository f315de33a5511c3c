#pragma once
/// \file
/// The order in which training samples are visited, cut into micro-batches and groups of them (one optimiser step).
/// Units   samples are indices 0..n-1; epochs, steps and micro-batches count from 0.
/// Errors  UsageError for sizes that are not positive and for steps or micro-batches outside the epoch.
/// Source  torch.randperm under accelerate's seedable sampler: epoch e is a permutation seeded seed + e.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <linden/core/random.hpp>
#include <linden/train/schedule.hpp>
#include <span>
#include <vector>

namespace linden {

/// Positions first..first + count - 1 of an epoch's order.
struct SampleRange {
  std::size_t first = 0;  ///< the first position
  std::size_t count = 0;  ///< how many

  friend constexpr bool operator==(const SampleRange&, const SampleRange&) = default;
};

/// How one epoch is cut: steps of `accumulation` micro-batches of `micro_batch` samples. The last of either may be
/// short, and no step reaches into the next epoch.
class EpochPlan {
 public:
  /// Throws UsageError for sizes that are not positive.
  constexpr EpochPlan(std::size_t samples, std::size_t micro_batch, std::size_t accumulation)
      : samples_(samples),
        micro_batch_(micro_batch),
        micro_batches_(micro_batches_per_epoch(samples, micro_batch)),
        accumulation_(accumulation),
        steps_(steps_per_epoch(samples, micro_batch, accumulation)) {}

  [[nodiscard]] constexpr std::size_t samples() const { return samples_; }  ///< of the data set
  [[nodiscard]] constexpr std::size_t steps() const { return steps_; }      ///< in an epoch

  /// Number of micro-batches of `step`.
  [[nodiscard]] constexpr std::size_t micro_batches(std::size_t step) const {
    if (step >= steps_) refuse("step", step, steps_);
    return std::min(accumulation_, micro_batches_ - step * accumulation_);
  }

  /// The samples of micro-batch `index` of `step`.
  [[nodiscard]] constexpr SampleRange micro_batch(std::size_t step, std::size_t index) const {
    if (index >= micro_batches(step)) refuse("micro-batch", index, micro_batches(step));
    const std::size_t first = (step * accumulation_ + index) * micro_batch_;
    return {first, std::min(micro_batch_, samples_ - first)};
  }

  /// All samples of `step`.
  [[nodiscard]] constexpr SampleRange accumulation(std::size_t step) const {
    const std::size_t first = micro_batch(step, 0).first;
    const SampleRange last = micro_batch(step, micro_batches(step) - 1);
    return {first, last.first + last.count - first};
  }

 private:
  [[noreturn]] static void refuse(const char* what, std::size_t index, std::size_t count) {
    throw UsageError(text("epoch plan: ", what, " ", index, " of ", count, "; they count from 0"));
  }

  std::size_t samples_;
  std::size_t micro_batch_;
  std::size_t micro_batches_;
  std::size_t accumulation_;
  std::size_t steps_;
};

/// The order of `samples` samples in `epoch` of a run seeded `seed`.
[[nodiscard]] inline std::vector<std::size_t> epoch_order(std::size_t samples, std::uint64_t seed,
                                                          std::uint64_t epoch) {
  return random_permutation(samples, seed + epoch);
}

/// The samples of every step of a run; a pure function of (seed, epoch, step), so a run can resume anywhere.
class SampleOrder {
 public:
  /// The run's first epoch.
  SampleOrder(const EpochPlan& plan, std::uint64_t seed)
      : plan_(plan), seed_(seed), order_(epoch_order(plan.samples(), seed, 0)) {}

  [[nodiscard]] const EpochPlan& plan() const { return plan_; }  ///< how an epoch is cut
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }   ///< the current one, from 0

  /// Goes to `epoch`: draws its order.
  void start_epoch(std::uint64_t epoch) {
    order_ = epoch_order(plan_.samples(), seed_, epoch);
    epoch_ = epoch;
  }

  /// Samples of micro-batch `index` of `step` of the current epoch; valid until the next start_epoch.
  [[nodiscard]] std::span<const std::size_t> micro_batch(std::size_t step, std::size_t index) const {
    return at(plan_.micro_batch(step, index));
  }

  /// All samples of `step` of the current epoch; valid until the next start_epoch.
  [[nodiscard]] std::span<const std::size_t> accumulation(std::size_t step) const {
    return at(plan_.accumulation(step));
  }

 private:
  [[nodiscard]] std::span<const std::size_t> at(SampleRange range) const {
    return std::span(order_).subspan(range.first, range.count);
  }

  EpochPlan plan_;
  std::uint64_t seed_;
  std::uint64_t epoch_ = 0;
  std::vector<std::size_t> order_;
};

}  // namespace linden
