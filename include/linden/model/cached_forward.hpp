#pragma once
/// \file
/// A forward pass with a key-value cache: new tokens of any number of sequences, each behind those it has, each at its own
/// adapter rank. Prompts go through it in pieces, generated tokens one by one, many ranks in one pass over the base weights.
/// Shapes  cache: [rows, kv columns] per layer, keys and values; a sequence owns consecutive rows.
/// Memory  the cache, and the activations of one pass; both are kept for the next.
/// Errors  ShapeError for an id outside the vocabulary or a position outside the model's.

#include <algorithm>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/placed_batch.hpp>
#include <linden/model/weighting_rows.hpp>
#include <map>
#include <optional>

namespace linden {

/// The next tokens of a sequence.
struct CachedTokens {
  std::span<const std::int32_t> ids;  ///< the tokens, one or more
  long first_row = 0;                 ///< of the sequence in the cache
  long filled = 0;                    ///< its tokens that are in the cache already
  int rank = 0;                       ///< the adapter is read at this rank; 0: base model alone
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

/// A model, an adapter and the cache of keys and values of any number of sequences.
template <LlamaConfiguration C, class T, class Backend = Host, class Model = FrozenLlama<C, T>>
class CachedForward {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;
  using Cache = TensorView<T, Shape<cached, Layer::kv_columns>>;

 public:
  using Number = detail::Arithmetic<T>;                    ///< what logits, scores and adapters are: float where T is narrower
  using Adapter = LlamaAdapter<C, Number>;                 ///< the adapters it takes
  using Hidden = TensorView<T, Shape<tokens, C::hidden>>;  ///< rows of hidden states
  using Logits = TensorView<Number, Shape<tokens, C::vocabulary>>;  ///< rows of logits
  /// Bytes of cache for one token.
  static constexpr std::size_t bytes_per_token = 2 * C::layers * Layer::kv_columns * sizeof(T);

  /// A device takes the adapter as it is now.
  CachedForward(Model model, const Adapter& adapter, Inference inference, Backend backend = Backend())
      : model_(std::move(model)),
        backend_(backend),
        inference_(inference),
        weighting_(adapter.description()),
        factors_(place(adapter), adapter.factors().full_ranks),
        workspace_(backend_.template workspace<T>()) {}

  [[nodiscard]] const Backend& backend() const { return backend_; }  ///< where it runs

  /// Makes the cache hold `rows` tokens; what it held is lost when it grows.
  void reserve(long rows) {
    rows_ = std::max(rows_, rows);
    cache_.reserve(static_cast<std::size_t>(2 * C::layers * rows_ * Layer::kv_columns));
  }

  /// Output of the last layer for the tokens of all sequences, in order; valid until the next call.
  Hidden run(std::span<const CachedTokens> sequences) {
    pack(sequences);
    const long n = batch_.token_count();
    const auto& w = model_.weights();
    const ModuleRanks active = weighting_.rows().active();
    const std::int32_t* const rows_in_cache = backend_.place(std::span<const std::int32_t>(cache_rows_), placed_rows_);
    activations_.reserve(static_cast<std::size_t>(n * (2 * C::hidden + Layer::query_columns + 2 * Layer::kv_columns)));
    T* next = activations_.data();
    Hidden x = take<Hidden>(next), y = take<Hidden>(next);
    const auto q = take<TensorView<T, Shape<tokens, Layer::query_columns>>>(next);
    const auto k = take<TensorView<T, Shape<tokens, Layer::kv_columns>>>(next);
    const auto v = take<TensorView<T, Shape<tokens, Layer::kv_columns>>>(next);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(workspace_, x, w.embedding, batch_.ids());
    for (long l = 0; l < C::layers; ++l) {
      const auto& weights = w.layers[static_cast<std::size_t>(l)];
      const auto factors = factors_.layer(l, active);
      auto fresh = std::tuple(q, k, v);
      evaluate_into<decltype(compile(typename Layer::AdaptedKeys{}))>(workspace_, fresh, x, weights, factors, batch_.rows(),
                                                                      batch_.angles());
      backend_.scatter_rows(k.data(), rows_in_cache, n, Layer::kv_columns, cache(l, 0).data());
      backend_.scatter_rows(v.data(), rows_in_cache, n, Layer::kv_columns, cache(l, 1).data());
      evaluate_into<decltype(compile(typename Layer::AdaptedAfterKeys{}))>(
          workspace_, y, x, q, cache(l, 0), cache(l, 1), weights, factors, batch_.rows(), batch_.spans());
      std::swap(x, y);
    }
    return x;
  }

  /// Logits of some rows of hidden states.
  void logits(Hidden hidden, Logits out) {
    evaluate_into<decltype(compile(typename Head::Logits{}))>(workspace_, out, hidden, model_.weights().norm,
                                                              model_.weights().head);
  }

  /// Cross-entropy, and whether the target has the highest logit, per row of hidden states; 0 where the target is negative.
  void scores(Hidden hidden, std::span<const std::int32_t> targets, std::span<Number> losses, std::span<Number> correct) {
    using Column = TensorView<Number, Shape<tokens, 1>>;
    const long n = hidden.rows();
    scores_.reserve(static_cast<std::size_t>(2 * n));
    auto out = std::tuple(Column(scores_.data(), n), Column(scores_.data() + n, n));
    const std::int32_t* const placed = backend_.place(targets, targets_);
    evaluate_into<decltype(compile(typename Head::Scores{}))>(
        workspace_, out, hidden, model_.weights().norm, model_.weights().head,
        TensorView<const std::int32_t, Shape<tokens>>(placed, n).named("targets"));
    backend_.fetch(scores_.data(), losses);
    backend_.fetch(scores_.data() + n, correct);
  }

 private:
  /// The factors where kernels read them.
  const T* place(const Adapter& adapter) {
    placed_factors_.set(backend_, adapter.parameters());
    return placed_factors_.data();
  }

  template <class View>
  View take(T*& next) const {
    View view(next, batch_.token_count());
    next += view.size();
    return view;
  }

  [[nodiscard]] Cache cache(long layer, long which) const {
    return Cache(cache_.data() + (2 * layer + which) * rows_ * Layer::kv_columns, rows_);
  }

  void pack(std::span<const CachedTokens> sequences) {
    ids_.clear();
    positions_.clear();
    cache_rows_.clear();
    spans_.clear();
    ranks_.clear();
    offsets_.assign(1, 0);
    for (const CachedTokens& s : sequences) {
      const auto count = static_cast<long>(s.ids.size());
      for (const long entry : {static_cast<long>(ids_.size()), count, s.first_row, s.filled + count})
        spans_.push_back(static_cast<std::int32_t>(entry));
      ids_.insert(ids_.end(), s.ids.begin(), s.ids.end());
      for (long i = 0; i < count; ++i) {
        positions_.push_back(static_cast<std::int32_t>(s.filled + i));
        cache_rows_.push_back(static_cast<std::int32_t>(s.first_row + s.filled + i));
      }
      ranks_.push_back(s.rank);
      offsets_.push_back(static_cast<std::int32_t>(ids_.size()));
    }
    weighting_.set(ranks_, offsets_, inference_);
    batch_.set(backend_, ids_, {}, positions_, spans_, weighting_.rows());
  }

  template <class E>
  using Buffer = typename Backend::template Buffer<E>;

  Model model_;
  Backend backend_;
  Inference inference_;
  WeightingRows<Number> weighting_;
  detail::Placed<T, Backend> placed_factors_;
  AdapterFactors<C, const T> factors_;
  long rows_ = 0;
  Buffer<T> cache_, activations_;
  Buffer<Number> scores_;
  Buffer<std::int32_t> targets_, placed_rows_;
  std::vector<std::int32_t> ids_, positions_, cache_rows_, spans_, offsets_;
  std::vector<int> ranks_;
  detail::PlacedBatch<C, T, Backend> batch_;
  decltype(std::declval<Backend>().template workspace<T>()) workspace_;
};

}  // namespace linden
