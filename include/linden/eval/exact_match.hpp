#pragma once
/// \file
/// Share of questions whose generated answer ends in the right "#### n", at every rank in one pass.

#include <linden/data/answer.hpp>
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/sample_score.hpp>
#include <linden/model/generate_options.hpp>

namespace linden {

/// \return one share in [0, 1] for each of `ranks` (0: base model alone). `on_answer` sees every answer: example, number of
///         the rank, text, whether it is right.
/// Errors  UsageError without examples.
/// `evaluator` is a RankEvaluator, or has its `generate`.
template <class Evaluator>
std::vector<double> exact_match(
    Evaluator& evaluator, std::span<const Example> examples, std::span<const int> ranks,
    const Tokenizer& tokenizer, const GenerateOptions& generation,
    const std::function<void(std::size_t, std::size_t, const std::string&, bool)>& on_answer = {}) {
  if (examples.empty()) throw UsageError("nothing to measure: there are no examples");
  std::vector<std::vector<std::int32_t>> prompts;
  for (const Example& example : examples) prompts.push_back(tokenizer.encode(example.prompt, /*add_bos=*/true));
  std::vector<double> right(ranks.size());
  evaluator.generate(prompts, ranks, generation,
                     [&](std::size_t e, std::size_t rank, const std::vector<std::int32_t>& ids) {
                       const std::string answer = tokenizer.decode(ids);
                       const bool matches = strict_match(answer, examples[e].answer);
                       right[rank] += matches ? 1 : 0;
                       if (on_answer) on_answer(e, rank, answer, matches);
                     });
  for (double& share : right) share /= static_cast<double>(examples.size());
  return right;
}

}  // namespace linden
