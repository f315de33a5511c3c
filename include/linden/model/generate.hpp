#pragma once
/// \file
/// Text generation with continuous batching: prompts of different lengths and adapter ranks go through the model together; where
/// one ends, the next takes its place in the key-value cache. The same prompt at every rank costs one pass over the base weights
/// per token.
/// Memory  the cache (at most `cache_bytes`, or one prompt) and the activations of `chunk` tokens; reused by the next call.
/// Errors  UsageError for an empty prompt, one longer than the model's positions, or a rank the adapter does not have.

#include <linden/core/random.hpp>
#include <linden/model/cached_forward.hpp>
#include <linden/model/generate_options.hpp>

namespace linden {

/// A model and an adapter that continue prompts, each at its own rank.
template <LlamaConfiguration C, class T, class Backend = Host, class Model = FrozenLlama<C, T>>
class Generator {
  using Forward = CachedForward<C, T, Backend, Model>;
  using Hidden = typename Forward::Hidden;
  using Number = typename Forward::Number;

 public:
  /// `adapter` must outlive the generator.
  Generator(const Model& model, const typename Forward::Adapter& adapter, Inference inference = Inference::prefix,
            Backend backend = Backend())
      : forward_(model, adapter, inference, backend), largest_rank_(adapter.description().full_rank) {}

  /// The continuation of every prompt.
  std::vector<std::vector<std::int32_t>> run(std::span<const Prompt> prompts, const GenerateOptions& options) {
    check(prompts);
    if (options.max_tokens == 0) throw UsageError("generation of 0 tokens: max_tokens must be 1 or more");
    reserve_cache(prompts, options);
    std::vector<std::vector<std::int32_t>> out(prompts.size());
    running_.clear();
    cache_.reset(rows_);
    std::size_t waiting = 0;
    while (waiting < prompts.size() || !running_.empty()) {
      while (waiting < prompts.size() && admit(waiting, prompts[waiting], options)) ++waiting;
      step(options, out);
    }
    return out;
  }

 private:
  /// A prompt under way: its part of the cache, how much of it is filled, the tokens to feed next.
  struct Sequence {
    std::size_t prompt;
    int rank;
    long first_row, filled, capacity;
    std::vector<std::int32_t> next;
    PythonRandom random;
    bool ended = false;
  };

  void check(std::span<const Prompt> prompts) const {
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const std::size_t length = prompts[p].ids.size();
      if (length == 0 || length > static_cast<std::size_t>(C::positions))
        throw UsageError(text("prompt ", p, " has ", length, " tokens, expected 1 to ", C::positions));
      if (prompts[p].rank < 0 || prompts[p].rank > largest_rank_)
        throw UsageError(text("rank ", prompts[p].rank, ": the adapter has ranks 1 to ", largest_rank_));
    }
  }

  static long capacity_of(const Prompt& prompt, const GenerateOptions& options) {
    return std::min(static_cast<long>(prompt.ids.size() + options.max_tokens), C::positions);
  }

  void reserve_cache(std::span<const Prompt> prompts, const GenerateOptions& options) {
    long all = 0, largest = 0;
    for (const Prompt& prompt : prompts) {
      all += capacity_of(prompt, options);
      largest = std::max(largest, capacity_of(prompt, options));
    }
    const auto affordable = static_cast<long>(options.cache_bytes / Forward::bytes_per_token);
    rows_ = std::max(largest, std::min(all, affordable));
    forward_.reserve(rows_);
  }

  bool admit(std::size_t number, const Prompt& prompt, const GenerateOptions& options) {
    const long capacity = capacity_of(prompt, options);
    const std::optional<long> first_row = cache_.take(capacity);
    if (!first_row) return false;
    running_.push_back({number, prompt.rank, *first_row, 0, capacity, prompt.ids, PythonRandom(options.seed + number)});
    return true;
  }

  /// One pass: the next token of every running sequence, and as much of new prompts as `chunk` leaves room for.
  void step(const GenerateOptions& options, std::vector<std::vector<std::int32_t>>& out) {
    pieces_.clear();
    in_pass_.clear();
    std::size_t room = options.chunk;
    for (const bool reading : {false, true})  // those that write go first
      for (std::size_t s = 0; s < running_.size(); ++s) {
        const Sequence& sequence = running_[s];
        if (sequence.ended || (sequence.next.size() > 1) != reading) continue;
        const std::size_t count = reading ? std::min(sequence.next.size(), room) : 1;
        if (count == 0) continue;
        pieces_.push_back({std::span(sequence.next).first(count), sequence.first_row, sequence.filled, sequence.rank});
        in_pass_.push_back(s);
        room -= std::min(room, count);
      }
    if (!pieces_.empty()) {
      const Hidden hidden = forward_.run(pieces_);
      advance(hidden);
      choose(options, out);
      if (options.on_pass) options.on_pass();
    }
    std::erase_if(running_, [](const Sequence& s) { return s.ended; });
  }

  /// Takes the pieces off their sequences, and the hidden state of the last token of those that have no more.
  void advance(Hidden hidden) {
    last_.reserve(pieces_.size() * C::hidden);
    complete_.clear();
    long row = 0;
    for (std::size_t k = 0; k < pieces_.size(); ++k) {
      const auto count = static_cast<long>(pieces_[k].ids.size());
      row += count;
      Sequence& sequence = running_[in_pass_[k]];
      sequence.filled += count;
      sequence.next.erase(sequence.next.begin(), sequence.next.begin() + count);
      if (!sequence.next.empty()) continue;
      forward_.backend().copy(&hidden(row - 1, 0), C::hidden, last_.data() + complete_.size() * C::hidden);
      complete_.push_back(in_pass_[k]);
    }
  }

  /// Picks a token for every sequence that has been read, and ends those that are finished.
  void choose(const GenerateOptions& options, std::vector<std::vector<std::int32_t>>& out) {
    const auto count = static_cast<long>(complete_.size());
    if (count == 0) return;
    logits_.reserve(complete_.size() * C::vocabulary);
    forward_.logits(Hidden(last_.data(), count), typename Forward::Logits(logits_.data(), count));
    pick(options.temperature);
    for (std::size_t k = 0; k < complete_.size(); ++k) {
      Sequence& sequence = running_[complete_[k]];
      const std::int32_t id = picked_[k];
      auto& text_so_far = out[sequence.prompt];
      const bool stops = std::ranges::find(options.stop, id) != options.stop.end();
      if (!stops) text_so_far.push_back(id);
      if (stops || (options.on_token && !options.on_token(sequence.prompt, id)) ||
          text_so_far.size() >= options.max_tokens || sequence.filled >= sequence.capacity)
        end(sequence, text_so_far, options);
      else
        sequence.next.assign(1, id);
    }
  }

  void end(Sequence& sequence, const std::vector<std::int32_t>& ids, const GenerateOptions& options) {
    sequence.ended = true;
    cache_.give(sequence.first_row);
    if (options.on_end) options.on_end(sequence.prompt, ids);
  }

  /// A token for every sequence in `complete_`, from its logits.
  void pick(double temperature) {
    picked_.resize(complete_.size());
    if (temperature <= 0) return forward_.backend().best_columns(logits_.data(), C::vocabulary, std::span(picked_));
    row_.resize(C::vocabulary);
    for (std::size_t k = 0; k < complete_.size(); ++k) {
      forward_.backend().fetch(logits_.data() + k * C::vocabulary, std::span(row_));
      picked_[k] = draw(row_, temperature, running_[complete_[k]].random);
    }
  }

  static std::int32_t draw(std::span<const Number> logits, double temperature, PythonRandom& random) {
    const auto best = std::ranges::max_element(logits);
    const auto weight = [&](Number logit) { return std::exp((static_cast<double>(logit) - static_cast<double>(*best)) / temperature); };
    double total = 0;
    for (const Number logit : logits) total += weight(logit);
    double left = random.random() * total;
    for (std::size_t id = 0; id < logits.size(); ++id)
      if ((left -= weight(logits[id])) < 0) return static_cast<std::int32_t>(id);
    return static_cast<std::int32_t>(best - logits.begin());
  }

  Forward forward_;
  int largest_rank_;
  long rows_ = 0;
  CacheRows cache_;
  std::vector<Sequence> running_;
  std::vector<CachedTokens> pieces_;
  std::vector<std::size_t> in_pass_, complete_;  // sequences of the pieces; those whose last token was read
  typename Backend::template Buffer<T> last_;
  typename Backend::template Buffer<Number> logits_;
  std::vector<std::int32_t> picked_;
  std::vector<Number> row_;
};

}  // namespace linden
