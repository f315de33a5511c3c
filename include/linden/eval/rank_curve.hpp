#pragma once
/// \file
/// An adapter measured at every rank: mean loss, next-token accuracy on the answer tokens, and exact match of generated answers.
/// Units   loss in nats per target; accuracies in [0, 1].
/// Errors  UsageError for ranks the adapter does not have, or nothing to measure.

#include <linden/data/answer.hpp>
#include <linden/data/dataset.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/eval/aurac.hpp>
#include <linden/model/generate.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/train/llama_pass.hpp>

namespace linden {

/// Mean over all targets of a data set.
struct TokenScores {
  double loss = 0, accuracy = 0;
};

template <LlamaConfiguration C, Real T>
class RankEvaluator {
 public:
  /// The model must outlive the evaluator. `batch` sequences go through it together.
  explicit RankEvaluator(const Llama<C, T>& model, std::size_t batch = 32) : model_(model), batch_size_(batch) {}

  /// Loss and next-token accuracy of the adapter under the given row of P (see inference_row).
  TokenScores token_scores(const LlamaAdapter<C, T>& adapter, std::span<const T> row, std::span<const Sample> samples) {
    double loss = 0, correct = 0;
    long targets = 0;
    for (std::size_t first = 0; first < samples.size(); first += batch_size_) {
      batch_.clear();
      for (std::size_t s = first; s < std::min(first + batch_size_, samples.size()); ++s) batch_.append(samples[s], C::positions);
      losses_.resize(batch_.tokens());
      correct_.resize(batch_.tokens());
      pass_.score(model_, adapter.factors(), rows(row), batch_, losses_, correct_);
      for (std::size_t t = 0; t < batch_.tokens(); ++t) {
        loss += static_cast<double>(losses_[t]);
        correct += static_cast<double>(correct_[t]);
      }
      targets += batch_.counted;
    }
    if (targets == 0) throw UsageError("nothing to measure: no sample has an answer token within the maximal length");
    return {loss / static_cast<double>(targets), correct / static_cast<double>(targets)};
  }

  /// Share of examples whose greedily generated answer has the right "#### n".
  double exact_match(const LlamaAdapter<C, T>& adapter, std::span<const T> row, std::span<const Example> examples,
                     const Tokenizer& tokenizer, const GenerateOptions& options) {
    if (examples.empty()) throw UsageError("nothing to measure: there are no examples");
    std::size_t right = 0;
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::size_t first = 0; first < examples.size(); first += batch_size_) {
      const auto some = examples.subspan(first, std::min(batch_size_, examples.size() - first));
      prompts.clear();
      for (const Example& example : some) prompts.push_back(tokenizer.encode(example.prompt, true));
      const auto answers = generator_.run(model_, adapter.factors(), rows(row), prompts, options);
      for (std::size_t i = 0; i < some.size(); ++i) right += strict_match(tokenizer.decode(answers[i]), some[i].answer);
    }
    return static_cast<double>(right) / static_cast<double>(examples.size());
  }

 private:
  static RankRows<T> rows(std::span<const T> row) { return {row.data(), static_cast<long>(row.size()), 0}; }

  const Llama<C, T>& model_;
  std::size_t batch_size_;
  AdapterPass<C, T> pass_;
  Generator<C, T> generator_;
  Batch batch_;
  std::vector<T> losses_, correct_;
};

}  // namespace linden
