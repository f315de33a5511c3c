#pragma once
/// \file
/// A forward pass with a key-value cache: new tokens of any number of sequences, each behind those it has, each at its own
/// adapter rank. Prompts go through it in pieces, generated tokens one by one, many ranks in one pass over the base weights.
/// Shapes  cache: [rows, kv columns] per layer, keys and values; a sequence owns consecutive rows.
/// Memory  the cache, and the activations of one pass; both are kept for the next.
/// Errors  ShapeError for an id outside the vocabulary or a position outside the model's.

#include <algorithm>
#include <linden/model/llama.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/weighting_rows.hpp>
#include <map>
#include <optional>

namespace linden {

/// The next tokens of a sequence.
struct CachedTokens {
  std::span<const std::int32_t> ids;
  long first_row = 0;  ///< of the sequence in the cache
  long filled = 0;     ///< its tokens that are in the cache already
  int rank = 0;        ///< the adapter is read at this rank; 0: base model alone
};

/// Which rows of a cache belong to somebody.
class CacheRows {
 public:
  /// All rows are free.
  void reset(long rows) {
    rows_ = rows;
    taken_.clear();
  }
  /// The first of `count` free rows, or nothing.
  [[nodiscard]] std::optional<long> take(long count) {
    long first = 0;
    auto next = taken_.begin();
    for (; next != taken_.end() && next->first < first + count; ++next) first = next->first + next->second;
    if (first + count > rows_) return std::nullopt;
    taken_.emplace_hint(next, first, count);
    return first;
  }
  /// Frees what `take` gave.
  void give(long first) { taken_.erase(first); }

 private:
  long rows_ = 0;
  std::map<long, long> taken_;  // first row -> count
};

template <LlamaConfiguration C, Real T>
class CachedForward {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;
  using Cache = TensorView<T, Shape<cached, Layer::kv_columns>>;

 public:
  using Hidden = TensorView<T, Shape<tokens, C::hidden>>;
  /// Bytes of cache for one token.
  static constexpr std::size_t bytes_per_token = 2 * C::layers * Layer::kv_columns * sizeof(T);

  CachedForward(FrozenLlama<C, T> model, const LlamaAdapter<C, T>& adapter, Inference inference)
      : model_(std::move(model)), adapter_(adapter), inference_(inference), weighting_(adapter.description()) {}

  /// Makes the cache hold `rows` tokens; what it held is lost when it grows.
  void reserve(long rows) {
    rows_ = std::max(rows_, rows);
    cache_.reserve(static_cast<std::size_t>(2 * C::layers * rows_ * Layer::kv_columns));
  }

  /// Output of the last layer for the tokens of all sequences, in order; valid until the next call.
  Hidden run(std::span<const CachedTokens> sequences) {
    pack(sequences);
    const long n = inputs_.token_count();
    const FrozenWeights<C, T>& w = model_.weights();
    const RankRows<T> rows = weighting_.rows();
    activations_.reserve(static_cast<std::size_t>(n * (2 * C::hidden + Layer::query_columns + 2 * Layer::kv_columns)));
    T* next = activations_.data();
    Hidden x = take<Hidden>(next), y = take<Hidden>(next);
    const auto q = take<TensorView<T, Shape<tokens, Layer::query_columns>>>(next);
    const auto k = take<TensorView<T, Shape<tokens, Layer::kv_columns>>>(next);
    const auto v = take<TensorView<T, Shape<tokens, Layer::kv_columns>>>(next);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(
        workspace_, x, w.embedding, TensorView<const std::int32_t, Shape<tokens>>(ids_.data(), n).named("ids"));
    for (long l = 0; l < C::layers; ++l) {
      const auto& weights = w.layers[static_cast<std::size_t>(l)];
      const auto factors = adapter_.factors().layer(l, rows.active());
      auto fresh = std::tuple(q, k, v);
      evaluate_into<decltype(compile(typename Layer::AdaptedKeys{}))>(workspace_, fresh, x, weights, factors, rows.view(n),
                                                                      inputs_.angles());
      fill_cache(sequences, k.data(), cache(l, 0));
      fill_cache(sequences, v.data(), cache(l, 1));
      evaluate_into<decltype(compile(typename Layer::AdaptedAfterKeys{}))>(
          workspace_, y, x, q, cache(l, 0), cache(l, 1), weights, factors, rows.view(n), inputs_.spans());
      std::swap(x, y);
    }
    return x;
  }

  /// Logits of some rows of hidden states.
  void logits(Hidden hidden, TensorView<T, Shape<tokens, C::vocabulary>> out) {
    evaluate_into<decltype(compile(typename Head::Logits{}))>(workspace_, out, hidden, model_.weights().norm,
                                                              model_.weights().head);
  }

  /// Cross-entropy, and whether the target has the highest logit, per row of hidden states; 0 where the target is negative.
  void scores(Hidden hidden, std::span<const std::int32_t> targets, std::span<T> losses, std::span<T> correct) {
    using Column = TensorView<T, Shape<tokens, 1>>;
    const long n = hidden.rows();
    auto out = std::tuple(Column(losses.data(), n), Column(correct.data(), n));
    evaluate_into<decltype(compile(typename Head::Scores{}))>(
        workspace_, out, hidden, model_.weights().norm, model_.weights().head,
        TensorView<const std::int32_t, Shape<tokens>>(targets.data(), n).named("targets"));
  }

 private:
  template <class View>
  View take(T*& next) const {
    View view(next, inputs_.token_count());
    next += view.size();
    return view;
  }

  [[nodiscard]] Cache cache(long layer, long which) const {
    return Cache(cache_.data() + (2 * layer + which) * rows_ * Layer::kv_columns, rows_);
  }

  void pack(std::span<const CachedTokens> sequences) {
    ids_.clear();
    positions_.clear();
    spans_.clear();
    ranks_.clear();
    offsets_.assign(1, 0);
    for (const CachedTokens& s : sequences) {
      const auto count = static_cast<long>(s.ids.size());
      for (const long entry : {static_cast<long>(ids_.size()), count, s.first_row, s.filled + count})
        spans_.push_back(static_cast<std::int32_t>(entry));
      ids_.insert(ids_.end(), s.ids.begin(), s.ids.end());
      for (long i = 0; i < count; ++i) positions_.push_back(static_cast<std::int32_t>(s.filled + i));
      ranks_.push_back(s.rank);
      offsets_.push_back(static_cast<std::int32_t>(ids_.size()));
    }
    inputs_.set(positions_, spans_);
    weighting_.set(ranks_, offsets_, inference_);
  }

  /// Copies new keys or values of every sequence behind those it has.
  static void fill_cache(std::span<const CachedTokens> sequences, const T* fresh, Cache rows) {
    for (const CachedTokens& s : sequences) {
      const auto count = static_cast<long>(s.ids.size()) * Layer::kv_columns;
      std::copy_n(fresh, count, &rows(s.first_row + s.filled, 0));
      fresh += count;
    }
  }

  FrozenLlama<C, T> model_;
  const LlamaAdapter<C, T>& adapter_;
  Inference inference_;
  WeightingRows<T> weighting_;
  long rows_ = 0;
  AlignedBuffer<T> cache_, activations_;
  std::vector<std::int32_t> ids_, positions_, spans_, offsets_;
  std::vector<int> ranks_;
  PackedInputs<C, T> inputs_;
  Workspace<T> workspace_;
};

}  // namespace linden
