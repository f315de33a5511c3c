#pragma once
/// \file
/// Parameters as views into flat buffers: one buffer holds all weights of a model (or all adapter factors), another of the same
/// layout their gradients, others the optimiser's moments.

#include <linden/core/record.hpp>
#include <linden/core/stored_view.hpp>
#include <linden/model/llama_block.hpp>
#include <span>
#include <string>
#include <vector>

namespace linden {

namespace detail {

/// Calls visit(leaf, rows, columns) for the leaves of `record`.
template <class Record, class Visit>
void for_each_sized_leaf(Record& record, const ModuleRanks& ranks, Visit&& visit) {
  Sizes sizes;
  ranks.bind(sizes);
  for_each_leaf(record, [&]<class L>(L& leaf) { visit(leaf, sizes.of(L::shape::row_count), sizes.of(L::shape::column_count)); });
}

/// Gives the leaves of `record` consecutive pieces of memory from `next` on; where it is null, their shapes alone.
template <class T, class Record>
void bind_record(Record& record, T*& next, const ModuleRanks& ranks = {}) {
  for_each_sized_leaf(record, ranks, [&]<class L>(L& leaf, long rows, long columns) {
    leaf = L::strided(next, rows, columns, columns).named(leaf.name());
    if (next != nullptr) next += rows * columns;
  });
}

/// Elements of a record of views.
template <class Record>
long record_elements(const ModuleRanks& ranks = {}) {
  long count = 0;
  Record record{};
  for_each_sized_leaf(record, ranks, [&](auto&, long rows, long columns) { count += rows * columns; });
  return count;
}

}  // namespace detail

/// Every weight of a Llama; what a tensor is, Mode says (core/record.hpp, core/stored_view.hpp).
template <LlamaConfiguration C, class Mode>
struct LlamaRecord {
  using Layer = typename LlamaLayer<C>::template Weights<Mode>;                         ///< weights of a block
  using Table = typename Mode::template tensor<Shape<C::vocabulary, C::hidden>>;        ///< embedding and head
  Table embedding{"model.embed_tokens.weight"};                                         ///< [vocabulary, hidden]
  std::vector<Layer> layers = std::vector<Layer>(static_cast<std::size_t>(C::layers));  ///< the blocks, from the input on
  typename Mode::template tensor<Shape<C::hidden>> norm{"model.norm.weight"};           ///< of the last RMSNorm
  Table head{"lm_head.weight"};  ///< the embedding again where they are tied

  /// Calls visit(full Hugging Face name, tensor) for every tensor a checkpoint holds.
  template <class Visit>
  void for_each(Visit&& visit) {
    visit(std::string(embedding.name()), embedding);
    for (std::size_t l = 0; l < layers.size(); ++l)
      for_each_leaf(layers[l], [&](auto& leaf) { visit(text("model.layers.", l, ".", leaf.name()), leaf); });
    visit(std::string(norm.name()), norm);
    if (!C::tied) visit(std::string(head.name()), head);
  }
};

/// Weights in one flat buffer, as views of T.
template <LlamaConfiguration C, class T>
struct LlamaWeights : LlamaRecord<C, Bound<T>> {
  using typename LlamaRecord<C, Bound<T>>::Layer;
  using typename LlamaRecord<C, Bound<T>>::Table;
  static constexpr long table = C::vocabulary * C::hidden;  ///< elements of the embedding
  /// Elements of the flat buffer.
  static long count() { return table * (C::tied ? 1 : 2) + C::layers * detail::record_elements<Layer>() + C::hidden; }

  /// Views into `flat`, which has count() elements.
  explicit LlamaWeights(T* flat) {
    this->embedding = Table(flat).named(this->embedding.name());
    T* next = flat + table;
    for (Layer& layer : this->layers) detail::bind_record(layer, next);
    this->norm = decltype(this->norm)(next).named(this->norm.name());
    this->head = C::tied ? this->embedding : Table(next + C::hidden).named(this->head.name());
  }
};

/// Weights that are only read, each matrix stored as T or as bfloat16, wherever they lie.
template <LlamaConfiguration C, Real T>
using FrozenWeights = LlamaRecord<C, Stored<T>>;

/// Adapter factors of every layer at full rank, as views of T into one flat buffer.
template <LlamaConfiguration C, class T>
struct AdapterFactors {
  using Layer = typename LlamaLayer<C>::template Adapters<Bound<T>>;  ///< adapters of a block
  std::vector<Layer> layers;                                          ///< the blocks, from the input on
  ModuleRanks full_ranks;                                             ///< of every kind
  T* flat;                                                            ///< the flat buffer

  /// Elements of the flat buffer.
  static long count(const ModuleRanks& full_ranks) { return C::layers * detail::record_elements<Layer>(full_ranks); }

  /// Views into `elements`, which has count(ranks) of them.
  AdapterFactors(T* elements, const ModuleRanks& ranks)
      : layers(static_cast<std::size_t>(C::layers)), full_ranks(ranks), flat(elements) {
    for (Layer& layer : layers) detail::bind_record(layer, elements, ranks);
  }
  /// The flat buffer.
  [[nodiscard]] std::span<T> span() const { return {flat, static_cast<std::size_t>(count(full_ranks))}; }

  /// Layer l's factors cut to the first columns of every A and the first rows of every B; nothing is copied.
  [[nodiscard]] Layer layer(long l, const ModuleRanks& active) const {
    Layer cut = layers[static_cast<std::size_t>(l)];
    for_each_leaf(cut, [&]<class L>(L& leaf) {
      constexpr bool is_a = L::shape::column_count < 0;
      const long extent = is_a ? L::shape::column_count : L::shape::row_count, r = active.at(extent);
      if (r < 0 || r > full_ranks.at(extent))
        throw UsageError(text("rank ", r, ": ", leaf.name(), " has ranks 0 to ", full_ranks.at(extent)));
      leaf = L::strided(leaf.data(), is_a ? leaf.rows() : r, is_a ? r : leaf.columns(), leaf.stride()).named(leaf.name());
    });
    return cut;
  }

  /// Calls visit(name such as "model.layers.0.self_attn.q_proj.lora_A", view) for every factor of the kinds that have one.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::size_t l = 0; l < layers.size(); ++l)
      for_each_leaf(layers[l], [&](auto& leaf) {
        if (leaf.size() > 0) visit(text("model.layers.", l, ".", leaf.name()), leaf);
      });
  }
};

}  // namespace linden
