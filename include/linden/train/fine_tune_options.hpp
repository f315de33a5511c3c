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

/// What a run is asked for.
struct FineTuneOptions {
  AdapterDescription adapter;                                 ///< what is trained
  RankWeighting rank_weights;                                 ///< stratified: how likely each train rank is
  Initialisation initialisation = Initialisation::reference;  ///< how A begins
  double learning_rate = 2e-4;                                ///< the highest of the schedule
  double epochs = 3;                                          ///< times that every sample is seen; may be a fraction
  std::size_t steps = 0;                                      ///< optimiser steps; 0: as many as the epochs have
  std::size_t batch = 4, accumulate = 4;                      ///< samples of a micro-batch, micro-batches of a step
  std::uint64_t seed = 42;                                    ///< of initial values, order and draws
  long max_length = 512;                                      ///< samples are cut to so many tokens where they are made
  double max_gradient_norm = 1;                               ///< gradients are scaled down to this L2 norm
  Precision precision = Precision::fp32;                      ///< of adapters, gradients and moments
  AdamWOptions adamw{};                                       ///< its constants
};

/// What one optimiser step did.
struct StepReport {
  std::size_t step = 0;                                   ///< counts from 1
  double loss = 0, gradient_norm = 0, learning_rate = 0;  ///< as the file comment says; learning_rate is this step's
  std::size_t tokens = 0;                                 ///< of all its micro-batches
  double seconds = 0;                                     ///< of wall time
  bool applied = true;  ///< false: the loss or the gradients' norm was not finite, and nothing was updated
};

}  // namespace linden
