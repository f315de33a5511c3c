#pragma once
/// \file
/// The harness's task gsm8k, version 3: grade-school word problems answered by generated text.
/// Rows    question, answer (reasoning, then a line "#### n").
/// Request greedy, at most `gsm8k_new_tokens` tokens; the text ends before the first of the stop strings.
/// Errors  DataError for a row that lacks a field; UsageError where the context leaves no room for a prompt.
/// Source  github.com/EleutherAI/lm-evaluation-harness, tasks/gsm8k and models/huggingface.py.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/task.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace linden {

/// The longest answer.
inline constexpr std::size_t gsm8k_new_tokens = 256;

/// One row of the data set as a question; throws DataError naming the field.
[[nodiscard]] inline TaskDocument gsm8k_document(const JsonObject& row) {
  return {.text = "Question: " + row.string("question") + "\nAnswer:", .target = row.string("answer")};
}

/// 5 shots by default; answers are generated.
inline constexpr TaskDescription gsm8k_task{.name = "gsm8k",
                                            .kind = TaskKind::generation,
                                            .default_shots = 5,
                                            .may_draw_itself = false,
                                            .document_files = {"test.jsonl", ""},
                                            .pool_files = {"train.jsonl", ""},
                                            .read = gsm8k_document};

/// What ends an answer, in the order it is cut: the task's strings, then the tokenizer's eos.
[[nodiscard]] inline std::vector<std::string> gsm8k_stop_strings(const std::string& eos) {
  std::vector<std::string> stops{"Question:", "</s>", "<|im_end|>"};
  if (!eos.empty() && std::ranges::find(stops, eos) == stops.end()) stops.push_back(eos);
  return stops;
}

/// For each stop string in turn: the text before its first occurrence.
[[nodiscard]] inline std::string cut_at_stop_strings(std::string response, std::span<const std::string> stops) {
  for (const std::string& stop : stops)
    if (const std::size_t at = response.find(stop); !stop.empty() && at != response.npos) response.resize(at);
  return response;
}

/// Ids of a prompt, bos in front, cut on the left so that an answer of `new_tokens` fits into `max_length` positions.
[[nodiscard]] inline std::vector<std::int32_t> generation_prompt_ids(const Tokenizer& tokenizer,
                                                                     std::string_view prompt, std::size_t max_length,
                                                                     std::size_t new_tokens = gsm8k_new_tokens) {
  if (max_length <= new_tokens)
    throw UsageError(text("generation: a context of ", max_length, " positions has no room for a prompt and ",
                          new_tokens, " new tokens"));
  std::vector<std::int32_t> ids = tokenizer.encode(prompt, /*add_bos=*/true);
  if (ids.size() > max_length - new_tokens)
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(max_length - new_tokens));
  return ids;
}

}  // namespace linden
