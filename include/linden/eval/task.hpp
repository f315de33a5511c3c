#pragma once
/// \file
/// A task of the evaluation harness: questions with few-shot prompts, either answered by generated text or by choosing
/// the likeliest of given texts.
/// Prompt  for each example: text + " " + target + "\n\n"; then the text of the question. Nothing is added behind it:
///         the answer begins with the space.
/// Errors  UsageError for a question that is not there and for more shots than the pool has examples.
/// Source  github.com/EleutherAI/lm-evaluation-harness, default delimiters, no chat template.

#include <algorithm>
#include <array>
#include <cstddef>
#include <linden/core/error.hpp>
#include <linden/eval/few_shot.hpp>
#include <linden/io/json_file.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// How a question is answered.
enum class TaskKind { generation, multiple_choice };

/// A question, or an example: both are rows of a file.
struct TaskDocument {
  std::string text;                    ///< the question as the prompt shows it
  std::string target;                  ///< the right answer as an example shows it
  std::vector<std::string> choices{};  ///< multiple choice: the answers to choose from
  std::size_t gold = 0;                ///< multiple choice: place of the right one; target == choices[gold]
  std::size_t row_hash = 0;            ///< of the whole row: equal rows have equal hashes
};

/// The array of strings under `key`, at least one.
[[nodiscard]] inline std::vector<std::string> string_list(const JsonObject& row, const std::string& key) {
  const nlohmann::json* list = row.find(key);
  const auto is_string = [](const nlohmann::json& entry) { return entry.is_string(); };
  if (list == nullptr || !list->is_array() || list->empty() || !std::ranges::all_of(*list, is_string))
    row.fail(key, "an array of strings");
  return list->get<std::vector<std::string>>();
}

/// What is fixed about a task.
struct TaskDescription {
  std::string_view name;      ///< as lm-evaluation-harness has it
  TaskKind kind;              ///< how questions are answered
  std::size_t default_shots;  ///< examples in front of a question where none are asked for
  bool may_draw_itself;       ///< one example more is drawn, and the question itself dropped from the draw
  std::array<std::string_view, 2> document_files, pool_files;  ///< file names looked for, in this order
  TaskDocument (*read)(const JsonObject& row);                 ///< throws DataError naming the field
};

/// Questions, examples, and which examples each question gets.
class Task {
 public:
  /// Draws the examples of every question.
  Task(const TaskDescription& description, std::vector<TaskDocument> documents, std::vector<TaskDocument> pool,
       std::size_t shots)
      : description_(description), shots_(shots), documents_(std::move(documents)), pool_(std::move(pool)) {
    const auto same = [this](std::size_t d, std::size_t p) {
      const TaskDocument &question = documents_[d], &example = pool_[p];
      return question.row_hash == example.row_hash && question.text == example.text &&
             question.choices == example.choices;
    };
    draws_ = description.may_draw_itself ? draw_few_shot(documents_.size(), pool_.size(), shots, same)
                                         : draw_few_shot(documents_.size(), pool_.size(), shots);
  }

  [[nodiscard]] const TaskDescription& description() const { return description_; }  ///< what is fixed about it
  [[nodiscard]] std::size_t shots() const { return shots_; }                         ///< examples in front of each question
  /// Number of questions.
  [[nodiscard]] std::size_t size() const { return documents_.size(); }
  /// Question i.
  [[nodiscard]] const TaskDocument& document(std::size_t i) const { return documents_[checked(i)]; }
  [[nodiscard]] std::span<const TaskDocument> pool() const { return pool_; }  ///< what examples are drawn from
  /// Places in the pool of the examples in front of question i.
  [[nodiscard]] std::span<const std::size_t> examples(std::size_t i) const { return draws_[checked(i)]; }

  /// All that the model is given for question i.
  [[nodiscard]] std::string prompt(std::size_t i) const {
    std::string out;
    for (const std::size_t p : examples(i)) out += pool_[p].text + " " + pool_[p].target + "\n\n";
    return out + documents_[i].text;
  }

 private:
  [[nodiscard]] std::size_t checked(std::size_t i) const {
    if (i < documents_.size()) return i;
    throw UsageError(text(description_.name, ": there is no question ", i, ", only 0 to ", size(), " - 1"));
  }

  TaskDescription description_;
  std::size_t shots_;
  std::vector<TaskDocument> documents_, pool_;
  FewShotDraws draws_;
};

}  // namespace linden
