#pragma once
/// \file
/// What a model's answer to one question is worth, and the mean over all questions.
/// Generation       strict: the first "#### n" is the right number; flexible: the last number is.
/// Multiple choice  acc: the likeliest choice is right; acc_norm, acc_bytes: likelihood per character, per byte. Among
///                  equals the first counts.
/// Units   every metric is 0 or 1 for a question, and in [0, 1] on average.
/// Errors  UsageError for likelihoods that are not numbers, or not as many as choices; for a summary of nothing.
/// Source  github.com/EleutherAI/lm-evaluation-harness, api/task.py and api/metrics.py.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/data/answer.hpp>
#include <linden/eval/python_text.hpp>
#include <linden/eval/task.hpp>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// The metrics of a kind of task, the one that is reported first.
[[nodiscard]] inline std::span<const std::string_view> metric_names(TaskKind kind) {
  static constexpr std::array<std::string_view, 2> generation{"strict", "flexible"};
  static constexpr std::array<std::string_view, 3> multiple_choice{"acc", "acc_norm", "acc_bytes"};
  if (kind == TaskKind::generation) return generation;
  return multiple_choice;
}

/// One answered question.
struct DocumentResult {
  TaskKind kind;                          ///< how it was answered
  std::size_t document;                   ///< its place in the task
  std::vector<double> metrics;            ///< in the order of metric_names(kind)
  std::vector<double> log_likelihoods{};  ///< multiple choice, nats
  std::string response{};                 ///< generation: the text, cut at the stop strings
};

/// Scores generated text, already cut at the stop strings.
[[nodiscard]] inline DocumentResult score_response(const Task& task, std::size_t document, std::string response) {
  const std::string& gold = task.document(document).target;
  const double strict = strict_match(response, gold) ? 1 : 0, flexible = flexible_match(response, gold) ? 1 : 0;
  return {.kind = TaskKind::generation,
          .document = document,
          .metrics = {strict, flexible},
          .response = std::move(response)};
}

namespace detail {

/// 1 where the largest of ll[c] / length(choices[c]), the first among equals, is at `gold`.
template <class Length>
double chooses(std::span<const double> ll, const TaskDocument& document, Length length) {
  std::vector<double> scores;
  for (std::size_t c = 0; c < ll.size(); ++c) scores.push_back(ll[c] / length(document.choices[c]));
  return std::ranges::max_element(scores) - scores.begin() == static_cast<std::ptrdiff_t>(document.gold) ? 1 : 0;
}

}  // namespace detail

/// Scores the log-likelihoods of the choices, in their order.
[[nodiscard]] inline DocumentResult score_choices(const Task& task, std::size_t document, std::vector<double> ll) {
  const TaskDocument& question = task.document(document);
  if (ll.size() != question.choices.size() || ll.empty())
    throw UsageError(text(task.description().name, ", question ", document, ": ", ll.size(), " log-likelihoods for ",
                          question.choices.size(), " choices"));
  if (!std::ranges::all_of(ll, [](double value) { return std::isfinite(value); }))
    throw UsageError(
        text(task.description().name, ", question ", document,
             ": a log-likelihood is not finite; the model or the adapter holds values that are no numbers"));
  const auto one = [](const std::string&) { return 1.0; };
  const auto characters = [](const std::string& choice) { return static_cast<double>(python_length(choice)); };
  const auto bytes = [](const std::string& choice) { return static_cast<double>(choice.size()); };
  return {.kind = TaskKind::multiple_choice,
          .document = document,
          .metrics = {detail::chooses(ll, question, one), detail::chooses(ll, question, characters),
                      detail::chooses(ll, question, bytes)},
          .log_likelihoods = std::move(ll)};
}

/// One line of a file of results: {"doc", "log_likelihoods" or "response", and the metrics by name}.
[[nodiscard]] inline nlohmann::ordered_json to_json(const DocumentResult& result) {
  nlohmann::ordered_json line{{"doc", result.document}};
  if (result.kind == TaskKind::generation)
    line["response"] = result.response;
  else
    line["log_likelihoods"] = result.log_likelihoods;
  const auto names = metric_names(result.kind);
  for (std::size_t m = 0; m < names.size(); ++m) line[std::string(names[m])] = result.metrics[m];
  return line;
}

/// A mean and its standard error: sample standard deviation / sqrt(n), not a number for n = 1.
struct MetricSummary {
  double mean, standard_error;  ///< in the metric's own unit
};

/// One summary per metric, in the order of metric_names.
[[nodiscard]] inline std::vector<MetricSummary> summarize(std::span<const DocumentResult> results) {
  if (results.empty()) throw UsageError("summarize: no question was answered");
  std::vector<MetricSummary> summaries;
  const auto n = static_cast<double>(results.size());
  for (std::size_t m = 0; m < results.front().metrics.size(); ++m) {
    double sum = 0, squares = 0;
    for (const DocumentResult& result : results) sum += result.metrics.at(m);
    for (const DocumentResult& result : results) squares += std::pow(result.metrics.at(m) - sum / n, 2);
    const double error =
        results.size() == 1 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(squares / (n - 1) / n);
    summaries.push_back({sum / n, error});
  }
  return summaries;
}

}  // namespace linden
