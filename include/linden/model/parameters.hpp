#pragma once
/// \file
/// Parameters as views into flat buffers: one buffer holds all weights of a model (or all adapter factors), another of the same
/// layout their gradients, others the optimiser's moments.

#include <linden/core/record.hpp>
#include <linden/model/llama_block.hpp>
#include <span>
#include <string>
#include <vector>

namespace linden {

namespace detail {

/// Gives the leaves of `record` consecutive pieces of memory from `next` on; `rank` has size R.
template <class T, class Record>
void bind_record(Record& record, T*& next, long R = 0) {
  Sizes sizes;
  sizes.bound[static_cast<std::size_t>(-rank - 1)] = R;
  for_each_leaf(record, [&]<class L>(L& leaf) {
    const long row_count = sizes.of(L::shape::row_count), column_count = sizes.of(L::shape::column_count);
    leaf = L::strided(next, row_count, column_count, column_count).named(leaf.name());
    next += row_count * column_count;
  });
}

/// Elements of a record of views.
template <class Record>
long record_elements(long R = 0) {
  long count = 0;
  Record record{};
  Sizes sizes;
  sizes.bound[static_cast<std::size_t>(-rank - 1)] = R;
  for_each_leaf(record, [&]<class L>(L&) { count += sizes.of(L::shape::row_count) * sizes.of(L::shape::column_count); });
  return count;
}

}  // namespace detail

/// Every weight of a Llama, as views of T (const T for read-only use).
template <LlamaConfiguration C, class T>
struct LlamaWeights {
  using Layer = typename LlamaLayer<C>::template Weights<Bound<T>>;
  TensorView<T, Shape<C::vocabulary, C::hidden>> embedding{"model.embed_tokens.weight"};
  std::vector<Layer> layers;
  TensorView<T, Shape<C::hidden>> norm{"model.norm.weight"};
  TensorView<T, Shape<C::vocabulary, C::hidden>> head{"lm_head.weight"};  ///< the embedding again where they are tied

  static constexpr long table = C::vocabulary * C::hidden;
  /// Elements of the flat buffer.
  static long count() { return table * (C::tied ? 1 : 2) + C::layers * detail::record_elements<Layer>() + C::hidden; }

  /// Views into `flat`, which has count() elements.
  explicit LlamaWeights(T* flat) : layers(static_cast<std::size_t>(C::layers)) {
    embedding = decltype(embedding)(flat).named(embedding.name());
    T* next = flat + table;
    for (Layer& layer : layers) detail::bind_record(layer, next);
    norm = decltype(norm)(next).named(norm.name());
    head = C::tied ? embedding : decltype(head)(next + C::hidden).named(head.name());
  }

  /// Calls visit(full Hugging Face name, view) for every tensor a checkpoint holds.
  template <class Visit>
  void for_each(Visit&& visit) {
    visit(std::string(embedding.name()), embedding);
    for (std::size_t l = 0; l < layers.size(); ++l)
      for_each_leaf(layers[l], [&](auto& leaf) { visit(text("model.layers.", l, ".", leaf.name()), leaf); });
    visit(std::string(norm.name()), norm);
    if (!C::tied) visit(std::string(head.name()), head);
  }
};

/// Adapter factors of every layer at full rank R, as views of T into one flat buffer.
template <LlamaConfiguration C, class T>
struct AdapterFactors {
  using Layer = typename LlamaLayer<C>::template Adapters<Bound<T>>;
  std::vector<Layer> layers;
  long full_rank = 0;

  static long count(long R) { return C::layers * detail::record_elements<Layer>(R); }

  AdapterFactors(T* flat, long R) : layers(static_cast<std::size_t>(C::layers)), full_rank(R) {
    for (Layer& layer : layers) detail::bind_record(layer, flat, R);
  }

  /// Layer l's factors cut to the first r columns of every A and the first r rows of every B; nothing is copied.
  [[nodiscard]] Layer layer(long l, long r) const {
    if (r < 1 || r > full_rank) throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", full_rank));
    Layer cut = layers[static_cast<std::size_t>(l)];
    for_each_leaf(cut, [r]<class L>(L& leaf) {
      const bool is_a = L::shape::column_count == rank;
      leaf = L::strided(leaf.data(), is_a ? leaf.rows() : r, is_a ? r : leaf.columns(), leaf.stride()).named(leaf.name());
    });
    return cut;
  }

  /// Calls visit(name such as "model.layers.0.self_attn.q_proj.lora_A", view) for every factor.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::size_t l = 0; l < layers.size(); ++l)
      for_each_leaf(layers[l], [&](auto& leaf) { visit(text("model.layers.", l, ".", leaf.name()), leaf); });
  }
};

}  // namespace linden
