#pragma once
/// \file
/// Text generation with a key-value cache: prompts of different lengths together, each at its own place in the cache.
/// Shapes  prompts: token ids each; cache: [all prompts' lengths + new tokens, kv columns] per layer, keys and values.
/// Memory  the cache and one batch of activations; reused by the next call.
/// Errors  UsageError for an empty prompt or one longer than the model's positions.

#include <algorithm>
#include <functional>
#include <linden/core/random.hpp>
#include <linden/model/llama.hpp>
#include <linden/model/rank_rows.hpp>

namespace linden {

struct GenerateOptions {
  std::size_t max_tokens = 256;             ///< new tokens per prompt, at most
  std::vector<std::int32_t> stop{};         ///< generation ends before one of these ids
  double temperature = 0;                   ///< 0: the highest logit, lowest id on ties
  std::uint64_t seed = 42;                  ///< of sampling
  std::function<bool(std::size_t prompt, std::int32_t id)> on_token{};  ///< sees every new token; false ends that prompt
};

template <LlamaConfiguration C, Real T>
class Generator {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;
  using Cache = TensorView<T, Shape<cached, Layer::kv_columns>>;

 public:
  /// Continuations of `prompts` by the model with an adapter, of which the prefix of rows.active_rank is read.
  std::vector<std::vector<std::int32_t>> run(const Llama<C, T>& model, const AdapterFactors<C, T>& factors,
                                             const RankRows<T>& rows,
                                             std::span<const std::vector<std::int32_t>> prompts,
                                             const GenerateOptions& options) {
    prepare(prompts, options.max_tokens);
    PythonRandom random(options.seed);
    std::vector<std::vector<std::int32_t>> out(prompts.size());
    while (!pending_.empty()) {
      forward(model, factors, rows);
      choose(options, random, out);
    }
    return out;
  }

 private:
  /// A prompt under way: its part of the cache, how much of it is filled, the tokens to feed next.
  struct Sequence {
    std::size_t prompt;
    long first_row, filled, capacity;
    std::vector<std::int32_t> next;
  };

  void prepare(std::span<const std::vector<std::int32_t>> prompts, std::size_t max_tokens) {
    pending_.clear();
    cache_rows_ = 0;
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const auto length = static_cast<long>(prompts[p].size());
      if (length == 0 || length > C::positions)
        throw UsageError(text("prompt ", p, " has ", length, " tokens, expected 1 to ", C::positions));
      const long capacity = std::min(length + static_cast<long>(max_tokens), C::positions);
      if (max_tokens > 0) pending_.push_back({p, cache_rows_, 0, capacity, prompts[p]});
      cache_rows_ += capacity;
    }
    cache_.reserve(static_cast<std::size_t>(2 * C::layers * cache_rows_ * Layer::kv_columns));
  }

  [[nodiscard]] Cache cache(long layer, long which) const {
    return Cache(cache_.data() + (2 * layer + which) * cache_rows_ * Layer::kv_columns, cache_rows_);
  }

  /// The packed inputs of this round: all tokens that have not been through the model yet.
  void pack() {
    ids_.clear();
    positions_.clear();
    spans_.clear();
    for (const Sequence& s : pending_) {
      const auto count = static_cast<long>(s.next.size());
      for (const long entry : {static_cast<long>(ids_.size()), count, s.first_row, s.filled + count})
        spans_.push_back(static_cast<std::int32_t>(entry));
      ids_.insert(ids_.end(), s.next.begin(), s.next.end());
      for (long i = 0; i < count; ++i) positions_.push_back(static_cast<std::int32_t>(s.filled + i));
    }
    inputs_.set(positions_, spans_);
  }

  /// Copies new keys or values of every sequence behind those it has.
  void fill_cache(const T* fresh, Cache rows) const {
    for (const Sequence& s : pending_) {
      const auto count = static_cast<long>(s.next.size()) * Layer::kv_columns;
      std::copy_n(fresh, count, &rows(s.first_row + s.filled, 0));
      fresh += count;
    }
  }

  void forward(const Llama<C, T>& model, const AdapterFactors<C, T>& factors, const RankRows<T>& rows) {
    pack();
    const long n = inputs_.token_count();
    const LlamaWeights<C, T>& w = model.weights();
    activations_.reserve(static_cast<std::size_t>(n * (2 * C::hidden + Layer::query_columns + 2 * Layer::kv_columns)));
    T* next = activations_.data();
    const auto take = [&next, n]<class View>(View*) {
      View view(next, n);
      next += n * view.columns();
      return view;
    };
    using Hidden = TensorView<T, Shape<tokens, C::hidden>>;
    Hidden x = take(static_cast<Hidden*>(nullptr)), y = take(static_cast<Hidden*>(nullptr));
    auto q = take(static_cast<TensorView<T, Shape<tokens, Layer::query_columns>>*>(nullptr));
    auto k = take(static_cast<TensorView<T, Shape<tokens, Layer::kv_columns>>*>(nullptr)), v = take(&k);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(
        workspace_, x, w.embedding, TensorView<const std::int32_t, Shape<tokens>>(ids_.data(), n).named("ids"));
    for (long l = 0; l < C::layers; ++l) {
      const auto at = static_cast<std::size_t>(l);
      const auto factor = factors.layer(l, rows.active_rank);
      auto fresh = std::tuple(q, k, v);
      evaluate_into<decltype(compile(typename Layer::AdaptedKeys{}))>(workspace_, fresh, x, w.layers[at], factor,
                                                                      rows.view(n), inputs_.angles());
      fill_cache(k.data(), cache(l, 0));
      fill_cache(v.data(), cache(l, 1));
      evaluate_into<decltype(compile(typename Layer::AdaptedAfterKeys{}))>(workspace_, y, x, q, cache(l, 0), cache(l, 1),
                                                                           w.layers[at], factor, rows.view(n),
                                                                           inputs_.spans());
      std::swap(x, y);
    }
    last_logits(w, x);
  }

  /// Logits of the last token of every sequence.
  void last_logits(const LlamaWeights<C, T>& w, TensorView<T, Shape<tokens, C::hidden>> x) {
    const auto count = static_cast<long>(pending_.size());
    last_.reserve(static_cast<std::size_t>(count * C::hidden));
    logits_.reserve(static_cast<std::size_t>(count * C::vocabulary));
    for (long s = 0; s < count; ++s) {
      const std::int32_t* span = spans_.data() + 4 * s;
      std::copy_n(&x(span[0] + span[1] - 1, 0), C::hidden, last_.data() + s * C::hidden);
    }
    TensorView<T, Shape<tokens, C::vocabulary>> logits(logits_.data(), count);
    evaluate_into<decltype(compile(typename Head::Logits{}))>(
        workspace_, logits, TensorView<T, Shape<tokens, C::hidden>>(last_.data(), count), w.norm, w.head);
  }

  /// Picks a token for every sequence, and drops those that are finished.
  void choose(const GenerateOptions& options, PythonRandom& random, std::vector<std::vector<std::int32_t>>& out) {
    std::vector<Sequence> going_on;
    for (std::size_t s = 0; s < pending_.size(); ++s) {
      Sequence& sequence = pending_[s];
      const std::int32_t id = pick(logits_.span().subspan(s * C::vocabulary, C::vocabulary), options.temperature, random);
      if (std::ranges::find(options.stop, id) != options.stop.end()) continue;
      auto& text_so_far = out[sequence.prompt];
      text_so_far.push_back(id);
      if (options.on_token && !options.on_token(sequence.prompt, id)) continue;
      sequence.filled += static_cast<long>(sequence.next.size());
      sequence.next.assign(1, id);
      if (text_so_far.size() < options.max_tokens && sequence.filled < sequence.capacity) going_on.push_back(sequence);
    }
    pending_ = std::move(going_on);
  }

  static std::int32_t pick(std::span<const T> logits, double temperature, PythonRandom& random) {
    const auto best = std::ranges::max_element(logits);
    if (temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
    const auto weight = [&](T logit) { return std::exp((static_cast<double>(logit) - static_cast<double>(*best)) / temperature); };
    double total = 0;
    for (const T logit : logits) total += weight(logit);
    double left = random.random() * total;
    for (std::size_t id = 0; id < logits.size(); ++id)
      if ((left -= weight(logits[id])) < 0) return static_cast<std::int32_t>(id);
    return static_cast<std::int32_t>(best - logits.begin());
  }

  std::vector<Sequence> pending_;
  long cache_rows_ = 0;
  AlignedBuffer<T> cache_, activations_, last_, logits_;
  std::vector<std::int32_t> ids_, positions_, spans_;
  PackedInputs<C, T> inputs_;
  Workspace<T> workspace_;
};

}  // namespace linden
