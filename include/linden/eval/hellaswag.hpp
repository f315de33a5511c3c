#pragma once
/// \file
/// The harness's task hellaswag, version 1: everyday situations; the likeliest of four endings is chosen.
/// Rows    activity_label, ctx_a, ctx_b (absent counts as empty), endings[], label (0, 1, ... as number or text): the
///         layout of github.com/rowanz/hellaswag. Text and endings are cleaned of WikiHow's marks.
/// Errors  DataError for a row that lacks a field, whose label is no ending, or that has only the joined `ctx`.
/// Source  github.com/EleutherAI/lm-evaluation-harness, tasks/hellaswag; Zellers et al. 2019, arXiv:1905.07830.

#include <cstddef>
#include <linden/eval/python_text.hpp>
#include <linden/eval/task.hpp>
#include <string>
#include <string_view>

namespace linden {

namespace detail {

/// Deletes every "[...]" that lies within a line: from a bracket to the next closing one.
inline void delete_brackets(std::string& in) {
  std::string out;
  std::size_t kept = 0;  // in[0, kept) is dealt with
  for (std::size_t open = in.find('['); open != in.npos; open = in.find('[', open)) {
    const std::size_t close = in.find_first_of("]\n", open);
    if (close == in.npos) break;  // no later bracket can be closed either
    if (in[close] == ']') {
      out.append(in, kept, open - kept);
      kept = close + 1;
    }
    open = close + 1;
  }
  in = out.append(in, kept);
}

}  // namespace detail

/// Text as the prompt shows it: stripped, " [title]" a full stop, other "[...]" gone, double spaces made single in one
/// pass. What a removed mark leaves at the ends stays.
[[nodiscard]] inline std::string hellaswag_clean(std::string_view raw) {
  std::string out(python_strip(raw));
  python_replace(out, " [title]", ". ");
  detail::delete_brackets(out);
  python_replace(out, "  ", " ");
  return out;
}

/// One row of the data set as a question; throws DataError naming the field.
[[nodiscard]] inline TaskDocument hellaswag_document(const JsonObject& row) {
  if (!row.has("ctx_a") && row.has("ctx"))
    row.fail("ctx_a",
             "the two halves of the context apart (ctx_a, ctx_b): this file has them joined as 'ctx', and the prompt "
             "capitalises the second half; use hellaswag_val.jsonl and hellaswag_train.jsonl of rowanz/hellaswag");
  const std::string second = row.has("ctx_b") ? row.string("ctx_b") : "";
  const std::string context = row.string("ctx_a") + " " + python_capitalize(second);
  TaskDocument document{.text = hellaswag_clean(row.string("activity_label") + ": " + context), .target = ""};
  for (const std::string& ending : string_list(row, "endings")) document.choices.push_back(hellaswag_clean(ending));
  const auto last = static_cast<long>(document.choices.size()) - 1;
  const nlohmann::json* label = row.find("label");
  for (long gold = 0; gold <= last; ++gold)
    if (label != nullptr && (*label == gold || *label == std::to_string(gold))) {
      document.gold = static_cast<std::size_t>(gold);
      document.target = document.choices[document.gold];
      return document;
    }
  row.fail("label", text("0 to ", last, ", as a number or text"));
}

/// 10 shots by default; the likeliest ending is the answer.
inline constexpr TaskDescription hellaswag_task{.name = "hellaswag",
                                                .kind = TaskKind::multiple_choice,
                                                .default_shots = 10,
                                                .may_draw_itself = true,
                                                .document_files = {"validation.jsonl", "hellaswag_val.jsonl"},
                                                .pool_files = {"train.jsonl", "hellaswag_train.jsonl"},
                                                .read = hellaswag_document};

}  // namespace linden
