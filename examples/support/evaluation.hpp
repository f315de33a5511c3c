#pragma once
/// \file
/// What `evaluate` can measure, document by document, every rank in one pass: the loss and accuracy of known answers, exact match
/// of generated ones, and the tasks of the evaluation harness. Results go to DocumentResults as they come.

#include <cmath>
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/exact_match.hpp>
#include <linden/eval/gsm8k.hpp>
#include <linden/eval/multiple_choice.hpp>
#include <linden/eval/sample_score.hpp>
#include <linden/eval/score.hpp>

#include "support/document_results.hpp"
#include "support/progress.hpp"

namespace linden::examples {

/// Documents that lack a result at some rank, and where to put it.
class Pending {
 public:
  Pending(std::size_t documents, std::vector<int> ranks, DocumentResults& results)
      : ranks_(std::move(ranks)), results_(results) {
    for (std::size_t d = 0; d < documents; ++d)
      if (!results.has_all(d, ranks_)) numbers_.push_back(d);
    progress_.emplace(documents * ranks_.size(), ProgressStyle{.start = (documents - numbers_.size()) * ranks_.size()});
    done_ = (documents - numbers_.size()) * ranks_.size();
  }

  [[nodiscard]] std::span<const int> ranks() const { return ranks_; }
  /// The numbers of the documents to be done.
  [[nodiscard]] std::span<const std::size_t> documents() const { return numbers_; }
  /// The result of the k-th of them at a rank.
  void add(std::size_t k, std::size_t rank_number, const nlohmann::ordered_json& result) {
    const int rank = ranks_[rank_number];
    if (results_.find(numbers_[k], rank) == nullptr) results_.add(numbers_[k], rank, result);
    progress_->update(++done_, text("document ", numbers_[k], " at rank ", rank));
  }

 private:
  std::vector<int> ranks_;
  DocumentResults& results_;
  std::vector<std::size_t> numbers_;
  std::optional<Progress> progress_;
  std::size_t done_ = 0;
};

/// {"loss", "correct", "targets"} of every sample.
template <class Evaluator>
void measure_scores(Evaluator& evaluator, std::span<const Sample> samples, Pending& pending) {
  std::vector<typename Evaluator::Document> documents;
  for (const std::size_t d : pending.documents()) documents.push_back({samples[d]});
  evaluator.score(documents, pending.ranks(), [&](std::size_t k, std::span<const SampleScore> scores) {
    for (std::size_t r = 0; r < scores.size(); ++r)
      pending.add(k, r, {{"loss", scores[r].loss}, {"correct", scores[r].correct}, {"targets", scores[r].targets}});
  });
}

/// {"response", "exact_match"} of every example.
template <class Evaluator>
void measure_exact_match(Evaluator& evaluator, std::span<const Example> examples, const Tokenizer& tokenizer,
                         const GenerateOptions& generation, Pending& pending) {
  if (pending.documents().empty()) return;
  std::vector<Example> asked;
  for (const std::size_t d : pending.documents()) asked.push_back(examples[d]);
  exact_match(evaluator, std::span<const Example>(asked), pending.ranks(), tokenizer, generation,
              [&](std::size_t k, std::size_t r, const std::string& answer, bool right) {
                pending.add(k, r, {{"response", answer}, {"exact_match", right ? 1 : 0}});
              });
}

/// Ends generation where a stop string has appeared; looks at as many tokens as the longest has bytes, and some more.
class StopStrings {
 public:
  StopStrings(const Tokenizer& tokenizer, std::vector<std::string> strings) : tokenizer_(tokenizer), strings_(std::move(strings)) {
    for (const std::string& string : strings_) window_ = std::max(window_, string.size() + 4);
  }
  /// GenerateOptions::on_token.
  bool operator()(std::size_t prompt, std::int32_t id) {
    std::vector<std::int32_t>& tail = tails_[prompt];
    if (tail.size() == window_) tail.erase(tail.begin());
    tail.push_back(id);
    const std::string recent = tokenizer_.decode(tail);
    const bool stops = std::ranges::any_of(strings_, [&](const std::string& string) { return recent.find(string) != recent.npos; });
    if (stops) tails_.erase(prompt);
    return !stops;
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::string> strings_;
  std::size_t window_ = 0;
  std::map<std::size_t, std::vector<std::int32_t>> tails_;
};

/// score_response's JSON of every question, answered by generated text.
template <class Evaluator>
void measure_generation(Evaluator& evaluator, const Task& task, const Tokenizer& tokenizer, std::size_t positions,
                        GenerateOptions generation, Pending& pending) {
  const auto stops = gsm8k_stop_strings(tokenizer.token(tokenizer.eos()));
  generation.max_tokens = std::min(generation.max_tokens, gsm8k_new_tokens);
  generation.on_token = StopStrings(tokenizer, stops);
  std::vector<std::vector<std::int32_t>> prompts;
  for (const std::size_t d : pending.documents())
    prompts.push_back(generation_prompt_ids(tokenizer, task.prompt(d), positions, generation.max_tokens));
  evaluator.generate(prompts, pending.ranks(), generation,
                     [&](std::size_t k, std::size_t r, const std::vector<std::int32_t>& ids) {
                       pending.add(k, r, to_json(score_response(task, pending.documents()[k],
                                                                cut_at_stop_strings(tokenizer.decode(ids), stops))));
                     });
}

/// score_choices' JSON of every question.
template <class Evaluator>
void measure_choices(Evaluator& evaluator, const Task& task, const Tokenizer& tokenizer, std::size_t positions, Pending& pending) {
  constexpr std::size_t at_a_time = 256;  // prompts are long: their tokens need not be in memory together
  const auto numbers = pending.documents();
  for (std::size_t first = 0; first < numbers.size(); first += at_a_time) {
    std::vector<typename Evaluator::Document> documents;
    for (std::size_t k = first; k < std::min(first + at_a_time, numbers.size()); ++k)
      documents.push_back(choice_samples(tokenizer, task.prompt(numbers[k]), task.document(numbers[k]).choices, positions));
    const std::size_t ranks = pending.ranks().size();
    evaluator.score(documents, pending.ranks(), [&](std::size_t k, std::span<const SampleScore> scores) {
      for (std::size_t r = 0; r < ranks; ++r) {
        std::vector<double> log_likelihoods;
        for (std::size_t c = r; c < scores.size(); c += ranks) log_likelihoods.push_back(-scores[c].loss);
        pending.add(first + k, r, to_json(score_choices(task, numbers[first + k], log_likelihoods)));
      }
    });
  }
}

/// A metric's mean over the documents at one rank, and its standard error (NaN for one document, or sums over tokens).
struct MetricMean {
  double mean, standard_error;
};

[[nodiscard]] inline MetricMean mean_of(const DocumentResults& results, std::size_t documents, int rank, const std::string& metric) {
  const bool per_token = metric == "loss" || metric == "token_accuracy";
  double sum = 0, squares = 0, weight = 0;
  for (std::size_t d = 0; d < documents; ++d) {
    const nlohmann::json& result = *results.find(d, rank);
    const double value = result.at(metric == "token_accuracy" ? "correct" : metric).get<double>();
    sum += value;
    squares += value * value;
    weight += per_token ? result.at("targets").get<double>() : 1;
  }
  if (weight == 0) throw UsageError("nothing to measure: no sample has an answer token within the maximal length");
  const double mean = sum / weight;
  if (per_token || documents < 2) return {mean, std::nan("")};
  return {mean, std::sqrt(std::max(squares / weight - mean * mean, 0.0) / (weight - 1))};
}

}  // namespace linden::examples
