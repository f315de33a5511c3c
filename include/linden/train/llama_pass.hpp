#pragma once
/// \file
/// Loss and gradients of a Llama over one packed micro-batch: forward through all layers, head and loss, backward again. Each
/// block's two plans are compiled once; what a layer keeps for backward lies in its own part of one buffer.
/// Units   loss is the sum of the cross-entropies of all targets times `scale` (1 / N for the mean over an accumulated batch).
/// Memory  nothing is allocated once the largest batch has been seen.

#include <functional>
#include <linden/data/batch.hpp>
#include <linden/model/placed_batch.hpp>

namespace linden {

namespace detail {

/// The activations of a pass: hidden states between layers, two hidden gradients, what blocks keep.
template <LlamaConfiguration C, class T, class Pass, class Backend = Host>
class Activations {
 public:
  using Hidden = TensorView<T, Shape<tokens, C::hidden>>;

  /// Of all buffers together.
  static long elements(long token_count, const Sizes& sizes) {
    return hidden_elements(token_count) + C::layers * Pass::kept.pools.elements(sizes);
  }
  void resize(long token_count, const Sizes& sizes) {
    tokens_ = token_count;
    saved_per_layer_ = Pass::kept.pools.elements(sizes);
    hidden_.reserve(static_cast<std::size_t>(hidden_elements(token_count)));
    saved_.reserve(static_cast<std::size_t>(C::layers * saved_per_layer_));
  }
  /// Input of layer l; hidden(C::layers) is the output of the last.
  [[nodiscard]] Hidden hidden(long l) const { return Hidden(hidden_.data() + l * tokens_ * C::hidden, tokens_); }
  /// One of two gradient buffers.
  [[nodiscard]] Hidden gradient(long which) const { return hidden(C::layers + 1 + which % 2); }
  [[nodiscard]] T* saved(long l) const { return saved_.data() + l * saved_per_layer_; }

 private:
  static long hidden_elements(long token_count) { return (C::layers + 3) * token_count * C::hidden; }

  typename Backend::template Buffer<T> hidden_, saved_;
  long tokens_ = 0, saved_per_layer_ = 0;
};

/// {first query, queries, first key, keys} per sequence, from the offsets of a batch.
inline void spans_of(const Batch& batch, std::vector<std::int32_t>& spans) {
  spans.clear();
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const std::int32_t first = batch.offsets[s], count = batch.offsets[s + 1] - first;
    spans.insert(spans.end(), {first, count, first, count});
  }
}

inline auto id_view(const std::vector<std::int32_t>& ids, const char* name) {
  return TensorView<const std::int32_t, Shape<tokens>>(ids.data(), static_cast<long>(ids.size())).named(name);
}

template <class T>
auto scalar_view(T& value, const char* name) {
  return TensorView<T, Shape<>>(&value).named(name);
}

}  // namespace detail

/// Is told of a layer whose gradients are there.
using OnLayer = std::function<void(long layer)>;

/// Fine-tuning: the base is frozen, the adapters are trained. T: what kernels compute with; on a device also bfloat16, then the
/// gradients are float.
template <LlamaConfiguration C, class T, Keep Policy = Keep::costly, class Backend = Host, class Model = FrozenLlama<C, T>>
class AdapterPass {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;
  using Number = detail::Arithmetic<T>;

 public:
  using Block = decltype(pullback<Policy, 0, 2>(typename Layer::AdaptedBlock{}));  ///< a block, forward and backward

  /// No memory is taken yet.
  explicit AdapterPass(Backend backend = Backend()) : backend_(backend), workspace_(backend_.template workspace<T>()) {}

  /// Bytes a batch of so many tokens needs at these ranks, beside weights, adapters and what kernels use as scratch memory.
  static std::size_t bytes(long token_count, const ModuleRanks& ranks) {
    const Sizes sizes = sizes_of(token_count, ranks);
    return (static_cast<std::size_t>(Activations::elements(token_count, sizes)) + workspace_elements(sizes)) * sizeof(T);
  }
  /// Takes the memory for batches of up to so many tokens.
  void reserve(long token_count, const ModuleRanks& ranks) {
    const Sizes sizes = sizes_of(token_count, ranks);
    activations_.resize(token_count, sizes);
    workspace_.reserve(workspace_elements(sizes));
  }

  /// Loss of the batch; adds its gradients to `gradients`. Only the active ranks' prefix of the factors is read, and only that
  /// of the gradients is written.
  double run(const Model& model, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows,
             const AdapterFactors<C, Number>& gradients, const Batch& batch, double scale) {
    start();
    add(model, factors, rows, gradients, batch, scale);
    return loss();
  }

  /// The same for several batches, whose losses add up where they are computed: start, add each, ask for the loss.
  void start() {
    loss_.reserve(1);
    backend_.clear(loss_.data(), 1);
  }
  /// Adds the gradients of a batch to `gradients`, and its loss to what `loss` says. After each layer's, from the last on, on_layer
  /// is told (on a device: when they are on the stream).
  void add(const Model& model, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows,
           const AdapterFactors<C, Number>& gradients, const Batch& batch, double scale, const OnLayer& on_layer = {}) {
    const auto& w = model.weights();
    const ModuleRanks active = rows.active();
    forward(w, factors, rows, batch);
    const Number factor = static_cast<Number>(scale);
    const Number* const placed = backend_.place(std::span(&factor, 1), scale_);
    auto top = std::tuple(Accumulate{Scalar(loss_.data()).named("loss")}, activations_.gradient(C::layers));
    evaluate_into<Loss>(workspace_, top, activations_.hidden(C::layers), w.norm, w.head, batch_.targets(),
                        TensorView<const Number, Shape<>>(placed).named("scale"));
    for (long l = C::layers - 1; l >= 0; --l) {
      run_backward(Block{}, workspace_, activations_.saved(l),
                   std::tuple(activations_.gradient(l), Accumulate{gradients.layer(l, active)}),
                   activations_.gradient(l + 1), activations_.hidden(l), w.layers[static_cast<std::size_t>(l)],
                   factors.layer(l, active), batch_.rows(), batch_.angles(), batch_.spans());
      if (on_layer) on_layer(l);
    }
  }
  /// Waits for a device.
  [[nodiscard]] double loss() const {
    Number sum = 0;
    backend_.fetch(loss_.data(), std::span(&sum, 1));
    return static_cast<double>(sum);
  }

  /// Cross-entropy and correctness per token ([tokens] each, 0 where there is no target), without gradients.
  void score(const Model& model, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows, const Batch& batch,
             std::span<Number> losses, std::span<Number> correct) {
    const auto& w = model.weights();
    forward(w, factors, rows, batch);
    using Column = TensorView<Number, Shape<tokens, 1>>;
    const long n = batch_.token_count();
    scores_.reserve(static_cast<std::size_t>(2 * n));
    auto out = std::tuple(Column(scores_.data(), n), Column(scores_.data() + n, n));
    evaluate_into<decltype(compile(typename Head::Scores{}))>(workspace_, out, activations_.hidden(C::layers), w.norm, w.head,
                                                              batch_.targets());
    backend_.fetch(scores_.data(), losses);
    backend_.fetch(scores_.data() + n, correct);
  }

 private:
  using Scalar = TensorView<Number, Shape<>>;
  using Loss = decltype(value_and_grad<0>(typename Head::Loss{}));
  using Activations = detail::Activations<C, T, Block, Backend>;
  template <class E>
  using Buffer = typename Backend::template Buffer<E>;

  static Sizes sizes_of(long token_count, const ModuleRanks& ranks) {
    Sizes sizes;
    ranks.bind(sizes.set(tokens, token_count));
    return sizes;
  }
  /// Of the largest plan.
  static std::size_t workspace_elements(const Sizes& sizes) {
    using detail::PullbackCode;
    return static_cast<std::size_t>(std::max({PullbackCode<Block, false>::plan.workspace.elements(sizes),
                                              PullbackCode<Block, true>::plan.workspace.elements(sizes),
                                              plan_of<Loss>.workspace.elements(sizes)}));
  }

  void forward(const auto& w, const AdapterFactors<C, T>& factors, const RankRows<Number>& rows, const Batch& batch) {
    detail::spans_of(batch, spans_);
    batch_.set(backend_, batch.ids, batch.targets, batch.positions, spans_, rows);
    const ModuleRanks active = rows.active();
    activations_.resize(batch_.token_count(), sizes_of(batch_.token_count(), active));
    auto first = activations_.hidden(0);
    evaluate_into<decltype(compile(typename Head::Embed{}))>(workspace_, first, w.embedding, batch_.ids());
    for (long l = 0; l < C::layers; ++l)
      run_forward(Block{}, workspace_, activations_.saved(l), activations_.hidden(l + 1), activations_.hidden(l),
                  w.layers[static_cast<std::size_t>(l)], factors.layer(l, active), batch_.rows(), batch_.angles(), batch_.spans());
  }

  Backend backend_;
  detail::PlacedBatch<C, T, Backend> batch_;
  Activations activations_;
  std::vector<std::int32_t> spans_;
  Buffer<Number> scale_, loss_, scores_;
  decltype(std::declval<Backend>().template workspace<T>()) workspace_;
};

/// Pretraining: every weight is trained, there is no adapter.
template <LlamaConfiguration C, Real T, Keep Policy = Keep::costly>
class FullPass {
  using Layer = LlamaLayer<C>;
  using Head = LlamaHead<C>;

 public:
  using Block = decltype(pullback<Policy, 0, 1>(typename Layer::FullBlock{}));  ///< a block, forward and backward

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
