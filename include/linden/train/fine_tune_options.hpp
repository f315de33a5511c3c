#pragma once
/// \file
/// What fine-tuning is asked for, and what a step answers.
/// Units   loss in nats per target; gradient_norm before clipping; seconds of wall time.

#include <cstddef>
#include <cstdint>
#include <linden/adapter/initialise.hpp>
#include <linden/adapter/rank_sampling.hpp>
#include <linden/model/adapter_description.hpp>
#include <linden/train/adamw.hpp>

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
  bool applied = true;  ///< false: the loss or the gradients' norm was not finite, and nothing was updated
};

}  // namespace linden
