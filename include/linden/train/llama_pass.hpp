#pragma once
/// \file
/// Loss and gradients of a Llama over one packed micro-batch: forward through all layers, head and loss, backward again. Each
/// block's two plans are compiled once; what a layer keeps for backward lies in its own part of one buffer.
/// Units   loss is the sum of the cross-entropies of all targets times `scale` (1 / N for the mean over an accumulated batch).
/// Memory  nothing is allocated once the largest batch has been seen.

#include <linden/backend/host.hpp>
#include <linden/data/batch.hpp>
#include <linden/model/llama.hpp>

namespace linden {

namespace detail {

/// The activations of a pass: hidden states between layers, two hidden gradients, what blocks keep.
template <LlamaConfiguration C, class T, class Pass, class Backend = Host>
class Activations {
 public:
  using Hidden = TensorView<T, Shape<tokens, C::hidden>>;

  void resize(long token_count, const Sizes& sizes) {
    tokens_ = token_count;
    saved_per_layer_ = Pass::kept.pools.elements(sizes);
    hidden_.reserve(static_cast<std::size_t>((C::layers + 3) * token_count * C::hidden));
    saved_.reserve(static_cast<std::size_t>(C::layers * saved_per_layer_));
  }
  /// Input of layer l; hidden(C::layers) is the output of the last.
  [[nodiscard]] Hidden hidden(long l) const { return Hidden(hidden_.data() + l * tokens_ * C::hidden, tokens_); }
  /// One of two gradient buffers.
  [[nodiscard]] Hidden gradient(long which) const { return hidden(C::layers + 1 + which % 2); }
  [[nodiscard]] T* saved(long l) const { return saved_.data() + l * saved_per_layer_; }

 private:
  typename Backend::template Buffer<T> hidden_, saved_;
  long tokens_ = 0, saved_per_layer_ = 0;
};

/// What numbers are on the CPU that kernels compute with as T.
template <class T>
using Arithmetic = std::conditional_t<narrow<T>, float, T>;

/// Elements for kernels: rounded to T where they are not of it, and where the backend reads them.
template <class T, class Backend>
class Placed {
 public:
  void set(const Backend& backend, std::span<const Arithmetic<T>> elements) {
    if constexpr (std::is_same_v<T, Arithmetic<T>>) {
      data_ = backend.place(elements, buffer_);
    } else {
      rounded_.clear();
      for (const Arithmetic<T> element : elements) rounded_.push_back(static_cast<T>(element));
      data_ = backend.place(std::span<const T>(rounded_), buffer_);
    }
  }
  [[nodiscard]] const T* data() const { return data_; }

 private:
  typename Backend::template Buffer<T> buffer_;
  std::vector<T> rounded_;
  const T* data_ = nullptr;
};

/// {first query, queries, first key, keys} per sequence, from the offsets of a batch.
inline void spans_of(const Batch& batch, std::vector<std::int32_t>& spans) {
  spans.clear();
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const std::int32_t first = batch.offsets[s], count = batch.offsets[s + 1] - first;
    spans.insert(spans.end(), {first, count, first, count});
  }
}

/// A batch, and the P of its tokens, where kernels read them.
template <LlamaConfiguration C, class T, class Backend>
class PlacedBatch {
 public:
  void set(const Backend& backend, const Batch& batch, const RankRows<Arithmetic<T>>& rows) {
    spans_of(batch, host_spans_);
    inputs_.set(batch.positions, host_spans_);
    const auto ids = [&](std::span<const std::int32_t> from, auto& buffer) { return backend.place(from, buffer); };
    ids_ = ids(batch.ids, id_buffer_);
    targets_ = ids(batch.targets, target_buffer_);
    spans_ = ids(host_spans_, span_buffer_);
    cosine_.set(backend, inputs_.angles().cosine.span());
    sine_.set(backend, inputs_.angles().sine.span());
    rows_ = place_rows(backend, rows);
  }
  [[nodiscard]] long token_count() const { return inputs_.token_count(); }
  [[nodiscard]] auto ids() const { return Tokens(ids_, token_count()).named("ids"); }
  [[nodiscard]] auto targets() const { return Tokens(targets_, token_count()).named("targets"); }
  [[nodiscard]] auto spans() const {
    return TensorView<const std::int32_t, Shape<sequences, 4>>(spans_, static_cast<long>(host_spans_.size()) / 4).named("spans");
  }
  [[nodiscard]] auto angles() const {
    using View = TensorView<const T, Shape<tokens, C::head_size / 2>>;
    typename LlamaLayer<C>::template Angles<Bound<const T>> record;
    record.cosine = View(cosine_.data(), token_count()).named("cosine");
    record.sine = View(sine_.data(), token_count()).named("sine");
    return record;
  }
  [[nodiscard]] auto rows() const { return rows_.view(token_count()); }

 private:
  using Tokens = TensorView<const std::int32_t, Shape<tokens>>;
  template <class E>
  using Buffer = typename Backend::template Buffer<E>;

  /// Kinds that share their rows go on doing so.
  RankRows<T> place_rows(const Backend& backend, const RankRows<Arithmetic<T>>& rows) {
    std::array<typename RankRows<T>::Rows, module_kinds> placed;
    for (std::size_t kind = 0; kind < module_kinds; ++kind) {
      const auto& from = rows.of(kind);
      std::size_t same = 0;
      while (rows.of(same) != from) ++same;
      const long elements = from.stride == 0 ? from.active_rank : token_count() * from.stride;
      if (same == kind) row_elements_[kind].set(backend, std::span(from.data, static_cast<std::size_t>(elements)));
      placed[kind] = {row_elements_[same].data(), from.active_rank, from.stride};
    }
    return RankRows<T>(placed);
  }

  PackedInputs<C, Arithmetic<T>> inputs_;
  std::vector<std::int32_t> host_spans_;
  Buffer<std::int32_t> id_buffer_, target_buffer_, span_buffer_;
  const std::int32_t *ids_ = nullptr, *targets_ = nullptr, *spans_ = nullptr;
  Placed<T, Backend> cosine_, sine_;
  std::array<Placed<T, Backend>, module_kinds> row_elements_;
  RankRows<T> rows_;
};

inline auto id_view(const std::vector<std::int32_t>& ids, const char* name) {
  return TensorView<const std::int32_t, Shape<tokens>>(ids.data(), static_cast<long>(ids.size())).named(name);
}

template <class T>
auto scalar_view(T& value, const char* name) {
  return TensorView<T, Shape<>>(&value).named(name);
}

}  // namespace detail

/// Fine-tuning: the base is frozen, the adapters are trained. T: what kernels compute with; on a device also bfloat16, then the
/// gradients are float.
template <LlamaConfiguration C, class T, Keep Policy = Keep::costly, class Backend = Host, class Model = FrozenLlama<C, T>>
class AdapterPass {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;
  using Number = detail::Arithmetic<T>;

 public:
  using Block = decltype(pullback<Policy, 0, 2>(typename Layer::AdaptedBlock{}));

  explicit AdapterPass(Backend backend = Backend()) : backend_(backend), workspace_(backend_.template workspace<T>()) {}

  /// Loss of the batch; adds its gradients to `gradients`. Only the active ranks' prefix of the factors is read, and only that
  /// of the gradients is written.
  double run(const Model& model, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows,
             const AdapterFactors<C, Number>& gradients, const Batch& batch, double scale) {
    const auto& w = model.weights();
    const ModuleRanks active = rows.active();
    forward(w, factors, rows, batch);
    const Number factor = static_cast<Number>(scale);
    const Number* const placed = backend_.place(std::span(&factor, 1), scale_);
    numbers_.reserve(1);
    auto top = std::tuple(Scalar(numbers_.data()).named("loss"), activations_.gradient(C::layers));
    evaluate_into<decltype(value_and_grad<0>(typename Head::Loss{}))>(
        workspace_, top, activations_.hidden(C::layers), w.norm, w.head, batch_.targets(),
        TensorView<const Number, Shape<>>(placed).named("scale"));
    for (long l = C::layers - 1; l >= 0; --l)
      run_backward(Block{}, workspace_, activations_.saved(l),
                   std::tuple(activations_.gradient(l), Accumulate{gradients.layer(l, active)}),
                   activations_.gradient(l + 1), activations_.hidden(l), w.layers[static_cast<std::size_t>(l)],
                   factors.layer(l, active), batch_.rows(), batch_.angles(), batch_.spans());
    Number loss = 0;
    backend_.fetch(numbers_.data(), std::span(&loss, 1));
    return static_cast<double>(loss);
  }

  /// Cross-entropy and correctness per token ([tokens] each, 0 where there is no target), without gradients.
  void score(const Model& model, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows, const Batch& batch,
             std::span<Number> losses, std::span<Number> correct) {
    const auto& w = model.weights();
    forward(w, factors, rows, batch);
    using Column = TensorView<Number, Shape<tokens, 1>>;
    const long n = batch_.token_count();
    numbers_.reserve(static_cast<std::size_t>(2 * n));
    auto out = std::tuple(Column(numbers_.data(), n), Column(numbers_.data() + n, n));
    evaluate_into<decltype(compile(typename Head::Scores{}))>(workspace_, out, activations_.hidden(C::layers), w.norm, w.head,
                                                              batch_.targets());
    backend_.fetch(numbers_.data(), losses);
    backend_.fetch(numbers_.data() + n, correct);
  }

 private:
  using Scalar = TensorView<Number, Shape<>>;
  template <class E>
  using Buffer = typename Backend::template Buffer<E>;

  void forward(const auto& w, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows, const Batch& batch) {
    batch_.set(backend_, batch, rows);
    const ModuleRanks active = rows.active();
    Sizes sizes;
    active.bind(sizes.set(tokens, batch_.token_count()));
    activations_.resize(batch_.token_count(), sizes);
    auto first = activations_.hidden(0);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(workspace_, first, w.embedding, batch_.ids());
    for (long l = 0; l < C::layers; ++l)
      run_forward(Block{}, workspace_, activations_.saved(l), activations_.hidden(l + 1), activations_.hidden(l),
                  w.layers[static_cast<std::size_t>(l)], factors.layer(l, active), batch_.rows(), batch_.angles(), batch_.spans());
  }

  Backend backend_;
  detail::PlacedBatch<C, T, Backend> batch_;
  detail::Activations<C, T, Block, Backend> activations_;
  Buffer<Number> scale_, numbers_;  // numbers_: loss, or scores
  decltype(std::declval<Backend>().template workspace<T>()) workspace_;
};

/// Pretraining: every weight is trained, there is no adapter.
template <LlamaConfiguration C, Real T, Keep Policy = Keep::costly>
class FullPass {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;

 public:
  using Block = decltype(pullback<Policy, 0, 1>(typename Layer::FullBlock{}));

  /// Loss of the batch; adds its gradients to `gradients` (views of the model's layout).
  double run(const Llama<C, T>& model, LlamaWeights<C, T>& gradients, const Batch& batch, double scale) {
    const LlamaWeights<C, T>& w = model.weights();
    detail::spans_of(batch, spans_);
    inputs_.set(batch.positions, spans_);
    const long n = inputs_.token_count();
    activations_.resize(n, Sizes{}.set(tokens, n));
    const auto ids = detail::id_view(batch.ids, "ids");
    auto first = activations_.hidden(0);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(workspace_, first, w.embedding, ids);
    for (long l = 0; l < C::layers; ++l)
      run_forward(Block{}, workspace_, activations_.saved(l), activations_.hidden(l + 1), activations_.hidden(l),
                  w.layers[static_cast<std::size_t>(l)], inputs_.angles(), inputs_.spans());
    const T factor = static_cast<T>(scale);
    T loss = 0;
    auto top = std::tuple(detail::scalar_view(loss, "loss"),
                          std::tuple(activations_.gradient(C::layers), Accumulate{gradients.norm}, Accumulate{gradients.head}));
    evaluate_into<decltype(value_and_grad<0, 1, 2>(typename Head::Loss{}))>(
        workspace_, top, activations_.hidden(C::layers), w.norm, w.head, detail::id_view(batch.targets, "targets"),
        detail::scalar_view(factor, "scale"));
    for (long l = C::layers - 1; l >= 0; --l) {
      const auto at = static_cast<std::size_t>(l);
      run_backward(Block{}, workspace_, activations_.saved(l),
                   std::tuple(activations_.gradient(l), Accumulate{gradients.layers[at]}), activations_.gradient(l + 1),
                   activations_.hidden(l), w.layers[at], inputs_.angles(), inputs_.spans());
    }
    Accumulate table{gradients.embedding};
    evaluate_into<decltype(vjp<0>(typename Head::Embed{}))>(workspace_, table, w.embedding, ids, activations_.gradient(0));
    return static_cast<double>(loss);
  }

 private:
  PackedInputs<C, T> inputs_;
  std::vector<std::int32_t> spans_;
  detail::Activations<C, T, Block> activations_;
  Workspace<T> workspace_;
};

}  // namespace linden
