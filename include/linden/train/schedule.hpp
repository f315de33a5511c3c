#pragma once
/// \file
/// How many optimiser steps a run has, and the learning rate of each.
/// Units   steps are optimiser steps; epochs may be fractional; the schedule is a factor of the peak learning rate.
/// Errors  UsageError for sizes or epochs that are not positive.
/// Source  the Hugging Face Trainer's counting and linear schedule, which MatryoshkaLoRA (arXiv:2605.07850) uses.

#include <cmath>
#include <cstddef>
#include <linden/core/error.hpp>

namespace linden {

namespace detail {

constexpr std::size_t quotient_rounded_up(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }

[[noreturn]] inline void sizes_of_a_run_must_be_positive(std::size_t samples, std::size_t micro_batch,
                                                         std::size_t accumulation) {
  throw UsageError(text("training needs positive sizes; found samples ", samples, ", micro-batch ", micro_batch,
                        ", accumulation ", accumulation));
}

}  // namespace detail

/// M = ceil(samples / micro_batch); the last micro-batch may be smaller.
[[nodiscard]] constexpr std::size_t micro_batches_per_epoch(std::size_t samples, std::size_t micro_batch) {
  if (samples == 0 || micro_batch == 0) detail::sizes_of_a_run_must_be_positive(samples, micro_batch, 1);
  return detail::quotient_rounded_up(samples, micro_batch);
}

/// U = ceil(M / accumulation): gradients never accumulate across the end of an epoch.
[[nodiscard]] constexpr std::size_t steps_per_epoch(std::size_t samples, std::size_t micro_batch,
                                                    std::size_t accumulation) {
  if (accumulation == 0) detail::sizes_of_a_run_must_be_positive(samples, micro_batch, accumulation);
  return detail::quotient_rounded_up(micro_batches_per_epoch(samples, micro_batch), accumulation);
}

/// T = ceil(epochs * U).
[[nodiscard]] inline std::size_t total_steps(double epochs, std::size_t steps_an_epoch) {
  const double steps = std::ceil(epochs * static_cast<double>(steps_an_epoch));
  if (!(steps >= 1.0 && steps < 0x1p53))
    throw UsageError(text("total_steps: ", epochs, " epochs of ", steps_an_epoch,
                          " steps; expected a positive, finite number of each"));
  return static_cast<std::size_t>(steps);
}

/// Factor of the learning rate after `completed` of `total` steps: rises from 0 over `warmup` steps, then falls
/// linearly to 0 at `total`. Without warm-up the first step has factor 1 and the last 1 / total.
[[nodiscard]] constexpr double linear_schedule(std::size_t completed, std::size_t total, std::size_t warmup = 0) {
  if (completed < warmup) return static_cast<double>(completed) / static_cast<double>(warmup);
  if (completed >= total) return 0.0;
  return static_cast<double>(total - completed) / static_cast<double>(total - warmup);
}

}  // namespace linden
