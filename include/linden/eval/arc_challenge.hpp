#pragma once
/// \file
/// The harness's task arc_challenge, version 1: school science questions; the likeliest answer is chosen. The prompt
/// does not list the answers.
/// Rows    question, choices {text[], label[]} (labels A, B, ... or 1, 2, ...; 3 to 5 of them), answerKey.
/// Errors  DataError for a row that lacks a field, or whose answerKey is none of its labels.
/// Source  github.com/EleutherAI/lm-evaluation-harness, tasks/arc; Clark et al. 2018, arXiv:1803.05457.

#include <algorithm>
#include <linden/eval/task.hpp>
#include <string>
#include <vector>

namespace linden {

/// One row of the data set as a question; throws DataError naming the field.
[[nodiscard]] inline TaskDocument arc_challenge_document(const JsonObject& row) {
  const JsonObject choices = row.object("choices");
  TaskDocument document{.text = "Question: " + row.string("question") + "\nAnswer:",
                        .target = "",
                        .choices = string_list(choices, "text")};
  const std::vector<std::string> labels = string_list(choices, "label");
  if (labels.size() != document.choices.size())
    choices.fail("label", text("as many labels as texts (", document.choices.size(), ")"));
  const auto right = std::ranges::find(labels, row.string("answerKey"));
  if (right == labels.end()) row.fail("answerKey", text("one of the ", labels.size(), " labels"));
  document.gold = static_cast<std::size_t>(right - labels.begin());
  document.target = document.choices[document.gold];
  return document;
}

/// 25 shots by default; the likeliest choice is the answer.
inline constexpr TaskDescription arc_challenge_task{.name = "arc_challenge",
                                                    .kind = TaskKind::multiple_choice,
                                                    .default_shots = 25,
                                                    .may_draw_itself = false,
                                                    .document_files = {"test.jsonl", ""},
                                                    .pool_files = {"train.jsonl", ""},
                                                    .read = arc_challenge_document};

}  // namespace linden
