#pragma once
/// \file
/// The log-likelihood of a text after a prompt: what goes through the model, and what is summed.
/// Tokens  whole = tokens(prompt + " " + choice), context = tokens(prompt), continuation = whole behind as many tokens
///         as the context has. Whitespace at the end of the prompt is first moved to the front of the continuation.
/// Shapes  a Sample: context and continuation, at most max_length + 1 tokens, cut on the left; only the continuation
///         has labels. The last token is only a target: the model need not see it, and has no position for it where
///         there are max_length + 1. The log-likelihood is the sum of the labels' log-probabilities.
/// Errors  UsageError for a choice without tokens of its own, or with more than max_length.
/// Source  github.com/EleutherAI/lm-evaluation-harness, api/model.py and models/huggingface.py.

#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <linden/data/sample.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/python_text.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

namespace detail {

/// The last `limit` tokens of context + continuation.
inline Sample scored_sample(std::vector<std::int32_t> ids, std::size_t context, std::size_t limit) {
  Sample sample{std::move(ids), {}, 0};
  sample.labels.assign(context, Sample::ignored);
  sample.labels.insert(sample.labels.end(), sample.ids.begin() + static_cast<std::ptrdiff_t>(context),
                       sample.ids.end());
  for (auto* column : {&sample.ids, &sample.labels})
    if (column->size() > limit) column->erase(column->begin(), column->end() - static_cast<std::ptrdiff_t>(limit));
  return sample;
}

}  // namespace detail

/// One sample per choice, for a model of `max_length` positions. Their `row` is the place of the choice.
[[nodiscard]] inline std::vector<Sample> choice_samples(const Tokenizer& tokenizer, std::string_view prompt,
                                                        std::span<const std::string> choices, std::size_t max_length) {
  const std::vector<std::int32_t> context = tokenizer.encode(python_rstrip(prompt), /*add_bos=*/true);
  const auto length = static_cast<std::ptrdiff_t>(context.size());
  std::vector<Sample> samples;
  for (const std::string& choice : choices) {
    const auto whole = tokenizer.encode(std::string(prompt) + " " + choice, /*add_bos=*/true);
    if (whole.size() <= context.size() || whole.size() - context.size() > max_length)
      throw UsageError(text("choice \"", choice, "\": found ", static_cast<std::ptrdiff_t>(whole.size()) - length,
                            " tokens of its own, expected 1 to ", max_length));
    std::vector<std::int32_t> ids = context;  // not of `whole`, which may differ where the two parts meet
    ids.insert(ids.end(), whole.begin() + length, whole.end());
    samples.push_back(detail::scored_sample(std::move(ids), context.size(), max_length + 1));
    samples.back().row = static_cast<long>(samples.size()) - 1;
  }
  return samples;
}

}  // namespace linden
