#pragma once
/// \file
/// JSON lines -> training examples (text) -> training samples (token ids and labels).
/// Kinds   told apart by their keys; a file holds one kind, further keys are ignored, blank lines are skipped:
///           question, answer             prompt "Question: " + question + "\nAnswer: "                 (GSM8K)
///           instruction, output[, input] prompt "### Instruction:\n" + ... + "\n\n### Response:\n"     (Open-Platypus)
///           question, choices, answerKey prompt "Question: " + question + "\n" + lines "A. text\n" + "Answer: "  (ARC)
///           prompt, completion           prompt as it is
///           text                         no prompt: every token but the bos in front is learned
/// Sample  ids = bos, prompt, answer, eos; labels = the same, with Sample::ignored up to the end of the prompt. Prompt
///         and answer are encoded apart, as the reference does; both lists are cut to max_length, no sample is dropped.
/// Errors  DataError naming file and line; UsageError for a limit or length that makes no sense.
/// Source  MatryoshkaLoRA's data loaders.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/core/input_file.hpp>
#include <linden/data/sample.hpp>
#include <linden/data/tokenizer.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace linden {

/// What the rows of a file are.
enum class RowKind { question_answer, instruction, multiple_choice, prompt_completion, text };

/// One row as text. The eos is not part of `answer`.
struct Example {
  RowKind kind;          ///< which fields the row has
  std::string question;  ///< as in the file: question, instruction or prompt; empty for plain text
  std::string prompt;    ///< what the model is given in training
  std::string answer;    ///< what it learns to write
  long row;              ///< number among the rows of the file, from 0
};

/// Read all rows of a file.
inline constexpr long all_rows = std::numeric_limits<long>::max();

/// A question and its answer in GSM8K's format.
[[nodiscard]] inline Example question_example(const std::string& question, std::string answer, long row) {
  return {RowKind::question_answer, question, "Question: " + question + "\nAnswer: ", std::move(answer), row};
}

namespace detail {

/// One line of a file of JSON lines, with its place for messages.
class RowReader {
 public:
  RowReader(const std::filesystem::path& path, long line, const std::string& content)
      : where_(text(path.string(), ", line ", line, ": ")) {
    try {
      row_ = nlohmann::json::parse(content);
    } catch (const nlohmann::json::exception& e) {
      refuse("not JSON: ", e.what());
    }
    if (!row_.is_object()) refuse("found ", row_.type_name(), ", expected an object");
  }

  [[nodiscard]] RowKind kind() const {
    std::vector<RowKind> fits;
    if (has({"question", "answer"})) fits.push_back(RowKind::question_answer);
    if (has({"instruction", "output"})) fits.push_back(RowKind::instruction);
    if (has({"question", "choices", "answerKey"})) fits.push_back(RowKind::multiple_choice);
    if (has({"prompt", "completion"})) fits.push_back(RowKind::prompt_completion);
    if (has({"text"})) fits.push_back(RowKind::text);
    if (fits.size() == 1) return fits.front();
    refuse(
        "keys ", keys(), fits.empty() ? " lack" : " fit more than one of",
        " (question, answer), (instruction, output), (question, choices, answerKey), (prompt, completion) or (text)");
  }

  [[nodiscard]] Example example(RowKind expected, long row) const {
    const RowKind found = kind();
    if (found != expected) refuse("keys ", keys(), " are of another kind than the rows before");
    switch (found) {
      case RowKind::question_answer:
        return question_example(field("question"), field("answer"), row);
      case RowKind::instruction: {
        const std::string instruction = field("instruction"), input = row_.contains("input") ? field("input") : "";
        const std::string middle = input.empty() ? "" : "\n\n### Input:\n" + input;
        return {found, instruction, "### Instruction:\n" + instruction + middle + "\n\n### Response:\n",
                field("output"), row};
      }
      case RowKind::multiple_choice:
        return multiple_choice(row);
      case RowKind::prompt_completion:
        return {found, field("prompt"), field("prompt"), field("completion"), row};
      case RowKind::text:
        break;
    }
    return {found, "", "", field("text"), row};
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw DataError(text(where_, parts...));
  }

  [[nodiscard]] bool has(std::initializer_list<const char*> names) const {
    return std::ranges::all_of(names, [&](const char* name) { return row_.contains(name); });
  }

  [[nodiscard]] std::string keys() const {
    std::string list;
    for (const auto& item : row_.items()) list += (list.empty() ? "" : ", ") + item.key();
    return "(" + list + ")";
  }

  /// The answer is the text whose label is answerKey; labels are A, B, ... or 1, 2, ...
  [[nodiscard]] Example multiple_choice(long row) const {
    const std::vector<std::string> texts = choices("text"), labels = choices("label");
    if (texts.size() != labels.size())
      refuse("\"choices\": found ", texts.size(), " texts and ", labels.size(), " labels, expected as many");
    const std::string question = field("question"), key = field("answerKey");
    std::string prompt = "Question: " + question + "\n";
    for (std::size_t i = 0; i < texts.size(); ++i) prompt += labels[i] + ". " + texts[i] + "\n";
    const auto right = std::ranges::find(labels, key);
    if (right == labels.end()) refuse("\"answerKey\": found \"", key, "\", expected one of the labels");
    return {RowKind::multiple_choice, question,
            prompt + "Answer: ", texts[static_cast<std::size_t>(right - labels.begin())], row};
  }

  [[nodiscard]] std::vector<std::string> choices(const char* name) const {
    const nlohmann::json& all = row_.at("choices");
    const nlohmann::json list = all.is_object() ? all.value(name, nlohmann::json()) : nlohmann::json();
    const auto is_string = [](const nlohmann::json& entry) { return entry.is_string(); };
    if (!list.is_array() || !std::ranges::all_of(list, is_string))
      refuse("\"choices\"/\"", name, "\": expected an array of strings");
    return list.get<std::vector<std::string>>();
  }

  [[nodiscard]] std::string field(const char* name) const {
    const nlohmann::json& value = row_.at(name);
    if (!value.is_string()) refuse("\"", name, "\": found ", value.type_name(), ", expected a string");
    return value.get<std::string>();
  }

  std::string where_;
  nlohmann::json row_;
};

}  // namespace detail

/// The first `limit` rows of a file of JSON lines. Lines may end in CR LF.
[[nodiscard]] inline std::vector<Example> read_jsonl(const std::filesystem::path& path, long limit = all_rows) {
  if (limit < 1) throw UsageError(text("linden::read_jsonl: limit ", limit, ", expected 1 or more"));
  std::ifstream file = open_input(path);
  std::vector<Example> examples;
  std::string line;
  for (long number = 1; static_cast<long>(examples.size()) < limit && std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const detail::RowReader row(path, number, line);
    const RowKind kind = examples.empty() ? row.kind() : examples.front().kind;
    examples.push_back(row.example(kind, static_cast<long>(examples.size())));
  }
  if (file.bad()) throw DataError(text(path.string(), ": cannot be read"));
  if (examples.empty()) throw DataError(text(path.string(), ": no rows"));
  return examples;
}

/// Tokens and labels of one example, at most `max_length` of them. A long prompt can leave nothing to learn.
[[nodiscard]] inline Sample make_sample(const Tokenizer& tokenizer, const Example& example, long max_length) {
  if (max_length < 2) throw UsageError(text("linden::make_sample: max_length ", max_length, ", expected 2 or more"));
  Sample sample{tokenizer.encode(example.prompt, /*add_bos=*/true), {}, example.row};
  sample.labels.assign(sample.ids.size(), Sample::ignored);
  std::vector<std::int32_t> answer = tokenizer.encode(example.answer, /*add_bos=*/false);
  answer.push_back(tokenizer.eos());
  sample.ids.insert(sample.ids.end(), answer.begin(), answer.end());
  sample.labels.insert(sample.labels.end(), answer.begin(), answer.end());
  const std::size_t length = std::min(sample.ids.size(), static_cast<std::size_t>(max_length));
  sample.ids.resize(length);
  sample.labels.resize(length);
  return sample;
}

/// make_sample of every example, in order.
[[nodiscard]] inline std::vector<Sample> make_samples(const Tokenizer& tokenizer, const std::vector<Example>& examples,
                                                      long max_length) {
  std::vector<Sample> samples;
  samples.reserve(examples.size());
  for (const Example& example : examples) samples.push_back(make_sample(tokenizer, example, max_length));
  return samples;
}

}  // namespace linden
