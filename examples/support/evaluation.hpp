#pragma once
/// \file
/// What `evaluate` can measure, document by document, every rank in one pass: the loss and accuracy of known answers, exact match
/// of generated ones, and the tasks of the evaluation harness. Results go to DocumentResults as they come, also from other processes.

#include <cmath>
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/exact_match.hpp>
#include <linden/eval/gsm8k.hpp>
#include <linden/eval/multiple_choice.hpp>
#include <linden/eval/sample_score.hpp>
#include <linden/eval/score.hpp>
#include <linden/train/process_group.hpp>
#include <numeric>

#include "support/document_results.hpp"
#include "support/progress.hpp"

namespace linden::examples {

/// Documents are measured in blocks of so many, whoever measures them: which tokens go through the model together is part of the last
/// bits of a result, so these are the same in one process and in many, interrupted or not.
inline constexpr std::size_t block_documents = 32;

/// A block of documents, and where their results go.
class Block {
 public:
  using OnResult = std::function<void(std::size_t document, int rank, const nlohmann::ordered_json& result)>;

  Block(std::size_t first, std::size_t last, std::span<const int> ranks, OnResult on_result)
      : ranks_(ranks), numbers_(last - first), on_result_(std::move(on_result)) {
    std::iota(numbers_.begin(), numbers_.end(), first);
  }

  [[nodiscard]] std::span<const int> ranks() const { return ranks_; }
  /// Their numbers.
  [[nodiscard]] std::span<const std::size_t> documents() const { return numbers_; }
  /// The result of the k-th of them at a rank.
  void add(std::size_t k, std::size_t rank_number, const nlohmann::ordered_json& result) {
    on_result_(numbers_[k], ranks_[rank_number], result);
  }

 private:
  std::span<const int> ranks_;
  std::vector<std::size_t> numbers_;
  OnResult on_result_;
};

/// Calls measure(block) for the blocks that lack a result, each in one of the processes; process 0 puts all that they find into
/// `results`, and shows how far they are.
template <class Measure>
void measure_blocks(std::size_t documents, std::span<const int> ranks, DocumentResults& results, ProcessGroup& group, Measure&& measure) {
  std::vector<std::size_t> left;
  for (std::size_t first = 0; first < documents; first += block_documents)
    if (!results.has_all(first, std::min(first + block_documents, documents), ranks)) left.push_back(first);
  left = nlohmann::json::parse(from_first(group, nlohmann::json(left).dump())).get<std::vector<std::size_t>>();

  std::size_t done = 0;
  for (std::size_t document = 0; document < documents; ++document)
    done += static_cast<std::size_t>(std::ranges::count_if(ranks, [&](int rank) { return results.find(document, rank) != nullptr; }));
  std::optional<Progress> progress;
  if (group.index() == 0) progress.emplace(documents * ranks.size(), ProgressStyle{.start = done});
  const OnReport on_report = [&](int, const std::string& report) {
    const auto line = nlohmann::ordered_json::parse(report);
    done += results.add(line) ? 1 : 0;
    progress->update(done, text("document ", line.at("doc"), " at rank ", line.at("rank")));
  };
  for (std::size_t i = static_cast<std::size_t>(group.index()); i < left.size(); i += static_cast<std::size_t>(group.size())) {
    Block block(left[i], std::min(left[i] + block_documents, documents), ranks,
                [&](std::size_t document, int rank, const nlohmann::ordered_json& result) {
                  nlohmann::ordered_json line{{"doc", document}, {"rank", rank}};
                  line.update(result);
                  group.report(line.dump(), on_report);
                });
    measure(block);
  }
  group.end_reports(on_report);
}

/// {"loss", "correct", "targets"} of every sample.
template <class Evaluator>
void measure_scores(Evaluator& evaluator, std::span<const Sample> samples, Block& block) {
  std::vector<typename Evaluator::Document> documents;
  for (const std::size_t d : block.documents()) documents.push_back({samples[d]});
  evaluator.score(documents, block.ranks(), [&](std::size_t k, std::span<const SampleScore> scores) {
    for (std::size_t r = 0; r < scores.size(); ++r)
      block.add(k, r, {{"loss", scores[r].loss}, {"correct", scores[r].correct}, {"targets", scores[r].targets}});
  });
}

/// {"response", "exact_match"} of every example.
template <class Evaluator>
void measure_exact_match(Evaluator& evaluator, std::span<const Example> examples, const Tokenizer& tokenizer,
                         const GenerateOptions& generation, Block& block) {
  std::vector<Example> asked;
  for (const std::size_t d : block.documents()) asked.push_back(examples[d]);
  exact_match(evaluator, std::span<const Example>(asked), block.ranks(), tokenizer, generation,
              [&](std::size_t k, std::size_t r, const std::string& answer, bool right) {
                block.add(k, r, {{"response", answer}, {"exact_match", right ? 1 : 0}});
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
                        GenerateOptions generation, Block& block) {
  const auto stops = gsm8k_stop_strings(tokenizer.token(tokenizer.eos()));
  generation.max_tokens = std::min(generation.max_tokens, gsm8k_new_tokens);
  generation.on_token = StopStrings(tokenizer, stops);
  std::vector<std::vector<std::int32_t>> prompts;
  for (const std::size_t d : block.documents())
    prompts.push_back(generation_prompt_ids(tokenizer, task.prompt(d), positions, generation.max_tokens));
  evaluator.generate(prompts, block.ranks(), generation,
                     [&](std::size_t k, std::size_t r, const std::vector<std::int32_t>& ids) {
                       block.add(k, r, to_json(score_response(task, block.documents()[k],
                                                                cut_at_stop_strings(tokenizer.decode(ids), stops))));
                     });
}

/// score_choices' JSON of every question.
template <class Evaluator>
void measure_choices(Evaluator& evaluator, const Task& task, const Tokenizer& tokenizer, std::size_t positions, Block& block) {
  std::vector<typename Evaluator::Document> documents;
  for (const std::size_t d : block.documents())
    documents.push_back(choice_samples(tokenizer, task.prompt(d), task.document(d).choices, positions));
  const std::size_t ranks = block.ranks().size();
  evaluator.score(documents, block.ranks(), [&](std::size_t k, std::span<const SampleScore> scores) {
    for (std::size_t r = 0; r < ranks; ++r) {
      std::vector<double> log_likelihoods;
      for (std::size_t c = r; c < scores.size(); c += ranks) log_likelihoods.push_back(-scores[c].loss);
      block.add(k, r, to_json(score_choices(task, block.documents()[k], log_likelihoods)));
    }
  });
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
