#pragma once
/// \file
/// A Llama whose numbers the compiler knows, with its weights in memory, and the passes through it.
/// Shapes  a batch is packed: ids, positions, targets [tokens], spans [sequences, 4].
/// Memory  activations: hidden states of every layer boundary, what each block keeps for backward, one workspace for all.
/// Errors  ShapeError for a position the model does not have.

#include <linden/backend/executor.hpp>
#include <linden/core/random.hpp>
#include <linden/model/parameters.hpp>
#include <memory>

namespace linden {

/// A model whose weights can be written, in one flat buffer.
template <LlamaConfiguration C, Real T>
class Llama {
 public:
  using configuration = C;  ///< its numbers
  using element = T;        ///< the type of its weights

  Llama() : memory_(static_cast<std::size_t>(LlamaWeights<C, T>::count())), weights_(memory_.data()) {}

  /// Random weights: normal with the given standard deviation, norms 1.
  static Llama random(std::uint64_t seed, double deviation = 0.02) {
    Llama model;
    NormalRandom normal(seed);
    model.weights_.for_each([&](const std::string&, auto view) {
      for (T& element : view.span())
        element = decltype(view)::shape::axes == 1 ? T(1) : static_cast<T>(deviation * normal());
    });
    return model;
  }

  [[nodiscard]] LlamaWeights<C, T>& weights() { return weights_; }              ///< views into the flat buffer
  [[nodiscard]] const LlamaWeights<C, T>& weights() const { return weights_; }  ///< views into the flat buffer
  [[nodiscard]] std::span<T> parameters() { return memory_.span(); }            ///< the flat buffer, in the order of LlamaWeights

 private:
  AlignedBuffer<T> memory_;
  LlamaWeights<C, T> weights_;
};

/// A model that is only read, wherever its weights lie: in mapped checkpoint files, as they are stored, or in a Llama's
/// buffer. Copies share the weights.
template <LlamaConfiguration C, Real T>
class FrozenLlama {
 public:
  /// Refers to the weights of `model`, which must outlive every copy.
  FrozenLlama(const Llama<C, T>& model) {
    const LlamaWeights<C, T>& w = model.weights();
    weights_.embedding = w.embedding;
    for (std::size_t l = 0; l < w.layers.size(); ++l)
      for_each_leaf_pair(weights_.layers[l], w.layers[l], [](auto& mine, const auto& its) { mine = its; });
    weights_.norm = w.norm;
    weights_.head = w.head;
  }
  /// `owner` keeps the memory that the weights refer to.
  FrozenLlama(FrozenWeights<C, T> weights, std::shared_ptr<const void> owner)
      : weights_(std::move(weights)), owner_(std::move(owner)) {}

  [[nodiscard]] const FrozenWeights<C, T>& weights() const { return weights_; }  ///< views of the weights where they lie

 private:
  FrozenWeights<C, T> weights_;
  std::shared_ptr<const void> owner_;
};

/// The inputs all layers share for one packed batch: angles per token and the sequences' places.
template <LlamaConfiguration C, Real T>
class PackedInputs {
 public:
  /// positions [tokens]; spans [sequences, 4], row-major.
  void set(std::span<const std::int32_t> positions, std::span<const std::int32_t> spans) {
    tokens_ = static_cast<long>(positions.size());
    constexpr long half = C::head_size / 2;
    for (const std::int32_t p : positions)
      if (p < 0 || p >= C::positions)
        throw ShapeError(text("linden: position ", p, " lies outside the ", C::positions, " positions of ", C::name));
    angles_.reserve(static_cast<std::size_t>(2 * tokens_ * half));
    rotary_angles<T>(positions, C::head_size, C::theta, C::scaling, cosine(), sine());
    spans_ = TensorView<const std::int32_t, Shape<sequences, 4>>(spans.data(), static_cast<long>(spans.size()) / 4)
                 .named("spans");
  }
  /// cos and sin of every token's angles, [tokens, head_size / 2] each.
  [[nodiscard]] auto angles() const {
    using View = TensorView<T, Shape<tokens, C::head_size / 2>>;
    typename LlamaLayer<C>::template Angles<Bound<T>> record;
    record.cosine = View(cosine(), tokens_).named("cosine");
    record.sine = View(sine(), tokens_).named("sine");
    return record;
  }
  /// {first query, queries, first key, keys} of every sequence, [sequences, 4]
  [[nodiscard]] auto spans() const { return spans_; }
  [[nodiscard]] long token_count() const { return tokens_; }  ///< tokens of the batch

 private:
  [[nodiscard]] T* cosine() const { return angles_.data(); }
  [[nodiscard]] T* sine() const { return angles_.data() + tokens_ * (C::head_size / 2); }

  AlignedBuffer<T> angles_;
  TensorView<const std::int32_t, Shape<sequences, 4>> spans_;
  long tokens_ = 0;
};

}  // namespace linden
