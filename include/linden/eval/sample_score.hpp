#pragma once
/// \file
/// What an evaluation at several ranks is asked for, and what it answers.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <linden/data/sample.hpp>
#include <linden/model/adapter_description.hpp>
#include <span>
#include <vector>

namespace linden {

/// What the labels of one sample got at one rank.
struct SampleScore {
  double loss = 0;   ///< sum of the cross-entropies of the targets
  long correct = 0;  ///< targets with the highest logit
  long targets = 0;  ///< tokens that were scored
};

/// What an evaluation may use, and how it reads the adapter.
struct EvaluationOptions {
  Inference inference = Inference::prefix;          ///< P at inference
  std::size_t cache_bytes = std::size_t{2} << 30U;  ///< bytes of the key-value cache, at most
  std::size_t chunk = 1024;                         ///< tokens in one pass, at most
  std::function<void()> on_pass{};                  ///< after every pass: it goes on
};

/// Samples that belong together; what neighbours have in common at the beginning goes through the model once. The choices of a
/// question are a document; so is any sample alone.
using ScoredDocument = std::vector<Sample>;
/// Sees the scores of a document, [sample * ranks + rank].
using OnScores = std::function<void(std::size_t document, std::span<const SampleScore> scores)>;
/// Sees the token ids generated for a prompt at ranks[rank].
using OnText = std::function<void(std::size_t prompt, std::size_t rank, const std::vector<std::int32_t>& ids)>;

}  // namespace linden
