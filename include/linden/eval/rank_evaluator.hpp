#pragma once
/// \file
/// An adapter evaluated at many ranks in one pass over the base weights: every document goes through the model at all ranks
/// together, as sequences of one batch with a weighting row per token.
/// Units   losses in nats, summed over the targets of a sample: the log-likelihood of its labels, negated.
///         The last token of a sample is only a target; a sample may have one token more than the model positions.
/// Memory  the key-value cache (at most `cache_bytes`, or one document at one rank) and the activations of `chunk` tokens.
/// Errors  UsageError for ranks the adapter does not have, and samples that are empty or longer than the model's positions.

#include <functional>
#include <linden/eval/sample_score.hpp>
#include <linden/model/generate.hpp>

namespace linden {

/// A model and an adapter, measured at several ranks in one pass over the base weights.
template <LlamaConfiguration C, class T, class Backend = Host, class Model = FrozenLlama<C, T>>
class RankEvaluator {
  using Forward = CachedForward<C, T, Backend, Model>;
  using Number = typename Forward::Number;
  using Adapter = typename Forward::Adapter;

 public:
  using Document = ScoredDocument;  ///< what is scored together

  /// `adapter` must outlive the evaluator.
  RankEvaluator(const Model& model, const Adapter& adapter, const EvaluationOptions& options = {}, Backend backend = Backend())
      : model_(model), adapter_(adapter), options_(options), forward_(model, adapter, options.inference, backend) {}

  /// Scores every document at every rank (0: base model alone); reports each one when it is complete.
  void score(std::span<const Document> documents, std::span<const int> ranks, const OnScores& on_scores) {
    check(documents, ranks);
    prepare(documents, ranks.size());
    std::size_t waiting = 0;
    while (waiting < documents.size() * ranks.size() || !lanes_.empty()) {
      while (waiting < documents.size() * ranks.size() &&
             admit(documents, waiting / ranks.size(), waiting % ranks.size(), ranks))
        ++waiting;
      pass(documents, ranks.size(), on_scores);
    }
  }

  /// The sum over all documents' samples, one for each rank.
  std::vector<SampleScore> total(std::span<const Document> documents, std::span<const int> ranks,
                                 const std::function<void(std::size_t)>& on_document = {}) {
    std::vector<SampleScore> sums(ranks.size());
    score(documents, ranks, [&](std::size_t document, std::span<const SampleScore> scores) {
      for (std::size_t k = 0; k < scores.size(); ++k) {
        SampleScore& sum = sums[k % ranks.size()];
        sum.loss += scores[k].loss;
        sum.correct += scores[k].correct;
        sum.targets += scores[k].targets;
      }
      if (on_document) on_document(document);
    });
    return sums;
  }

  /// Continues every prompt at every rank; `generation`'s callbacks count prompts as prompt * ranks + rank.
  void generate(std::span<const std::vector<std::int32_t>> prompts, std::span<const int> ranks, GenerateOptions generation,
                const OnText& on_text) {
    std::vector<Prompt> all;
    for (const auto& ids : prompts)
      for (const int r : ranks) all.push_back({ids, r});
    generation.cache_bytes = options_.cache_bytes;
    generation.chunk = options_.chunk;
    generation.on_pass = options_.on_pass;
    generation.on_end = [&](std::size_t k, const std::vector<std::int32_t>& ids) {
      on_text(k / ranks.size(), k % ranks.size(), ids);
    };
    Generator<C, T, Backend, Model>(model_, adapter_, options_.inference, forward_.backend()).run(all, generation);
  }

 private:
  /// A document under way at one rank.
  struct Lane {
    std::size_t document, rank_number;
    int rank;
    long first_row;
    std::size_t sample = 0;
    long filled = 0;  // tokens of the sample in the cache
  };

  void check(std::span<const Document> documents, std::span<const int> ranks) const {
    for (const int r : ranks)
      if (r < 0 || r > adapter_.description().full_rank)
        throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", adapter_.description().full_rank));
    for (const Document& document : documents) {
      if (document.empty()) throw UsageError("a document without samples cannot be scored");
      for (const Sample& sample : document)
        if (sample.ids.empty() || read_tokens(sample) > static_cast<std::size_t>(C::positions) ||
            sample.ids.size() != sample.labels.size())
          throw UsageError(text("the sample of row ", sample.row, " has ", sample.ids.size(), " tokens and ",
                                sample.labels.size(), " labels, expected 1 to ", C::positions + 1, " of both"));
    }
  }

  /// Tokens the model sees: all but the last, which is only a target.
  static std::size_t read_tokens(const Sample& sample) { return std::max<std::size_t>(sample.ids.size() - 1, 1); }

  static long rows_of(const Document& document) {
    std::size_t rows = 1;
    for (const Sample& sample : document) rows = std::max(rows, read_tokens(sample));
    return static_cast<long>(rows);
  }

  void prepare(std::span<const Document> documents, std::size_t ranks) {
    long all = 0, largest = 0;
    for (const Document& document : documents) {
      all += rows_of(document) * static_cast<long>(ranks);
      largest = std::max(largest, rows_of(document));
    }
    const auto affordable = static_cast<long>(options_.cache_bytes / Forward::bytes_per_token);
    const long rows = std::max(largest, std::min(all, affordable));
    forward_.reserve(rows);
    cache_.reset(rows);
    lanes_.clear();
    scores_.clear();
  }

  bool admit(std::span<const Document> documents, std::size_t document, std::size_t rank_number, std::span<const int> ranks) {
    const auto first_row = cache_.take(rows_of(documents[document]));
    if (!first_row) return false;
    lanes_.push_back({document, rank_number, ranks[rank_number], *first_row});
    Progress& progress = scores_[document];
    progress.scores.resize(documents[document].size() * ranks.size());
    return true;
  }

  /// One pass over at most `chunk` tokens of the lanes, first come first served.
  void pass(std::span<const Document> documents, std::size_t ranks, const OnScores& on_scores) {
    pieces_.clear();
    in_pass_.clear();
    targets_.clear();
    std::size_t room = options_.chunk;
    for (std::size_t l = 0; l < lanes_.size() && room > 0; ++l) {
      const Lane& lane = lanes_[l];
      const Sample& sample = documents[lane.document][lane.sample];
      const auto from = static_cast<std::size_t>(lane.filled), count = std::min(read_tokens(sample) - from, room);
      pieces_.push_back({std::span(sample.ids).subspan(from, count), lane.first_row, lane.filled, lane.rank});
      in_pass_.push_back(l);
      for (std::size_t t = from + 1; t <= from + count; ++t)
        targets_.push_back(t < sample.labels.size() ? sample.labels[t] : Sample::ignored);
      room -= count;
    }
    if (!pieces_.empty()) {
      losses_.resize(targets_.size());
      correct_.resize(targets_.size());
      forward_.scores(forward_.run(pieces_), targets_, losses_, correct_);
      collect(documents, ranks);
      if (options_.on_pass) options_.on_pass();
    }
    retire(documents, on_scores);
  }

  /// Adds the scores of the pass to their samples, and moves lanes on.
  void collect(std::span<const Document> documents, std::size_t ranks) {
    std::size_t t = 0;
    for (std::size_t k = 0; k < pieces_.size(); ++k) {
      Lane& lane = lanes_[in_pass_[k]];
      SampleScore& score = scores_[lane.document].scores[lane.sample * ranks + lane.rank_number];
      for (const std::size_t end = t + pieces_[k].ids.size(); t < end; ++t) {
        if (targets_[t] < 0) continue;
        score.loss += static_cast<double>(losses_[t]);
        score.correct += correct_[t] > Number(0) ? 1 : 0;
        ++score.targets;
      }
      lane.filled += static_cast<long>(pieces_[k].ids.size());
      const Document& document = documents[lane.document];
      if (lane.filled < static_cast<long>(read_tokens(document[lane.sample]))) continue;
      if (++lane.sample < document.size()) lane.filled = shared(document[lane.sample - 1], document[lane.sample]);
    }
  }

  /// How many tokens of `sample` are in the cache already, of those in front of its first scored one.
  static long shared(const Sample& before, const Sample& sample) {
    const auto [mine, its] = std::ranges::mismatch(sample.ids, before.ids);
    std::size_t reusable = static_cast<std::size_t>(mine - sample.ids.begin());
    for (std::size_t t = 1; t < sample.labels.size(); ++t)
      if (sample.labels[t] != Sample::ignored) {
        reusable = std::min(reusable, t - 1);
        break;
      }
    return static_cast<long>(std::min({reusable, read_tokens(before), read_tokens(sample) - 1}));
  }

  /// Frees the rows of lanes that are through; reports documents that are complete at every rank.
  void retire(std::span<const Document> documents, const OnScores& on_scores) {
    for (const Lane& lane : lanes_) {
      const std::size_t samples = documents[lane.document].size();
      if (lane.sample < samples) continue;
      cache_.give(lane.first_row);
      Progress& progress = scores_[lane.document];
      if (++progress.ranks_done * samples < progress.scores.size() || progress.reported) continue;
      progress.reported = true;
      on_scores(lane.document, progress.scores);
    }
    std::erase_if(lanes_, [&](const Lane& lane) { return lane.sample == documents[lane.document].size(); });
    std::erase_if(scores_, [](const auto& entry) { return entry.second.reported; });
  }

  struct Progress {
    std::vector<SampleScore> scores;
    std::size_t ranks_done = 0;
    bool reported = false;
  };

  Model model_;
  const Adapter& adapter_;
  EvaluationOptions options_;
  Forward forward_;
  CacheRows cache_;
  std::vector<Lane> lanes_;
  std::map<std::size_t, Progress> scores_;  // documents under way
  std::vector<CachedTokens> pieces_;
  std::vector<std::size_t> in_pass_;
  std::vector<std::int32_t> targets_;
  std::vector<Number> losses_, correct_;
};

}  // namespace linden
