#pragma once
/// \file
/// Which examples stand in front of which question, as the evaluation harness draws them: one generator per task,
/// questions in the order of the data set, each with its own draw without replacement, examples in drawn order. The
/// draws of the first questions are therefore the same whether or not later ones are asked.
/// Errors  UsageError where the pool holds too few examples.
/// Source  github.com/EleutherAI/lm-evaluation-harness, api/samplers.py; its default seed.

#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <linden/core/random.hpp>
#include <utility>
#include <vector>

namespace linden {

/// The harness's seed for few-shot examples.
inline constexpr std::uint64_t few_shot_seed = 1234;

/// draws[d]: places in the pool of the examples of document d, in prompt order.
using FewShotDraws = std::vector<std::vector<std::size_t>>;

/// `shots` examples for each of `documents` questions, out of `pool`.
[[nodiscard]] inline FewShotDraws draw_few_shot(std::size_t documents, std::size_t pool, std::size_t shots) {
  FewShotDraws draws(documents);
  if (shots == 0) return draws;
  if (shots > pool)
    throw UsageError(text("few-shot examples: ", shots, " are to be drawn, but the pool has only ", pool));
  PythonRandom random(few_shot_seed);
  for (auto& draw : draws) draw = random.sample(pool, shots);
  return draws;
}

/// The same where the pool may contain the question itself: one more is drawn, examples p for which same(d, p) are
/// dropped, and the first `shots` stay (fewer, where the pool repeats the question).
template <class Same>
[[nodiscard]] FewShotDraws draw_few_shot(std::size_t documents, std::size_t pool, std::size_t shots, Same same) {
  if (shots == 0) return FewShotDraws(documents);
  FewShotDraws draws = draw_few_shot(documents, pool, shots + 1);
  for (std::size_t d = 0; d < documents; ++d) {
    std::erase_if(draws[d], [&](std::size_t p) { return same(d, p); });
    if (draws[d].size() > shots) draws[d].resize(shots);
  }
  return draws;
}

}  // namespace linden
