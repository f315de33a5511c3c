#pragma once
/// \file
/// The seven projections of a Llama block as kinds of modules that can be adapted, and what is said of each kind: its rank,
/// and the rows of P of the adapter formula y = x W^T + ((x A) ⊙ P) B.
/// Shapes  P [tokens, rank of the kind]: one row for all tokens (stride 0) or a row per token.

#include <algorithm>
#include <array>
#include <linden/core/record.hpp>
#include <string_view>

namespace linden {

/// The projections of a block, in the order of every list of them.
enum class ModuleKind { q, k, v, o, gate, up, down };

inline constexpr std::size_t module_kinds = 7;  ///< how many kinds there are

/// Their names in checkpoints: the last part of a module's path.
inline constexpr std::array<std::string_view, module_kinds> module_names{"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                                         "gate_proj", "up_proj", "down_proj"};

/// The extent that stands for the rank of a kind.
[[nodiscard]] constexpr long rank_of(ModuleKind kind) { return module_rank - static_cast<long>(kind); }

/// A rank for every kind; 0: the kind has no adapter.
struct ModuleRanks {
  std::array<long, module_kinds> of{};  ///< by kind, as numbers

  ModuleRanks() = default;
  /// The same rank for all.
  constexpr ModuleRanks(long r) { of.fill(r); }

  /// The rank an extent such as rank_of(ModuleKind::q) stands for.
  [[nodiscard]] constexpr long at(long extent) const { return of[static_cast<std::size_t>(module_rank - extent)]; }
  [[nodiscard]] constexpr long largest() const { return *std::max_element(of.begin(), of.end()); }  ///< over all kinds
  /// Binds the extents of all kinds.
  constexpr void bind(Sizes& sizes) const {
    for (std::size_t kind = 0; kind < module_kinds; ++kind) sizes.set(module_rank - static_cast<long>(kind), of[kind]);
  }
  friend constexpr bool operator==(const ModuleRanks&, const ModuleRanks&) = default;
};

/// P of every kind, as a record.
template <class Mode>
struct ModuleRows {
  template <ModuleKind Kind>
  using Rows = typename Mode::template tensor<Shape<tokens, rank_of(Kind)>>;  ///< [tokens, rank of the kind]
  Rows<ModuleKind::q> q{"P of q_proj"};                                       ///< queries
  Rows<ModuleKind::k> k{"P of k_proj"};                                       ///< keys
  Rows<ModuleKind::v> v{"P of v_proj"};                                       ///< values
  Rows<ModuleKind::o> o{"P of o_proj"};                                       ///< attention's output
  Rows<ModuleKind::gate> gate{"P of gate_proj"};                              ///< the gate
  Rows<ModuleKind::up> up{"P of up_proj"};                                    ///< what the gate is multiplied with
  Rows<ModuleKind::down> down{"P of down_proj"};                              ///< the feed-forward network's output
};

/// P of every kind, as the model's passes take it; refers to rows it does not own.
template <class T>
class RankRows {
 public:
  /// The rows of one kind: `active_rank` elements, `stride` apart (0: one row for all tokens).
  struct Rows {
    const T* data = nullptr;  ///< the first element of the first row
    long active_rank = 0;     ///< elements of a row that count
    long stride = 0;          ///< elements from row to row

    friend bool operator==(const Rows&, const Rows&) = default;
  };

  /// No kind has an adapter.
  RankRows() = default;
  /// All kinds have the same rows.
  RankRows(const T* data, long active_rank, long stride) { rows_.fill({data, active_rank, stride}); }
  /// All kinds have the first elements of one row for all tokens, as many as their ranks say.
  RankRows(const T* data, const ModuleRanks& active_ranks) {
    for (std::size_t kind = 0; kind < module_kinds; ++kind) rows_[kind] = {data, active_ranks.of[kind], 0};
  }
  /// Every kind has its own.
  explicit RankRows(const std::array<Rows, module_kinds>& rows) : rows_(rows) {}

  /// How many columns of A and rows of B are read, for every kind.
  [[nodiscard]] ModuleRanks active() const {
    ModuleRanks ranks;
    for (std::size_t kind = 0; kind < module_kinds; ++kind) ranks.of[kind] = rows_[kind].active_rank;
    return ranks;
  }
  /// The rows of the tokens from this one on.
  [[nodiscard]] RankRows from(long token) const {
    RankRows rest = *this;
    for (Rows& rows : rest.rows_) rows.data += token * rows.stride;
    return rest;
  }
  /// The rows of one kind, by its number.
  [[nodiscard]] const Rows& of(std::size_t kind) const { return rows_[kind]; }
  /// The rows as a record, for `token_count` tokens.
  [[nodiscard]] ModuleRows<Bound<const T>> view(long token_count) const {
    ModuleRows<Bound<const T>> record;
    std::size_t kind = 0;
    for_each_leaf(record, [&]<class L>(L& leaf) {
      const Rows& rows = rows_[kind++];
      leaf = L::strided(rows.data, token_count, rows.active_rank, rows.stride).named(leaf.name());
    });
    return record;
  }

 private:
  std::array<Rows, module_kinds> rows_{};
};

}  // namespace linden
