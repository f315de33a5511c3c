#pragma once
/// \file
/// What an adapter of a Llama is, apart from its numbers: its kind, scaling, rank and rank set, for the whole adapter and for
/// the kinds of modules that differ.
/// Source  arXiv:2605.07850.

#include <algorithm>
#include <array>
#include <linden/adapter/rank_set.hpp>
#include <linden/adapter/weighting.hpp>
#include <linden/model/module_kinds.hpp>
#include <optional>

namespace linden {

/// What an adapter is, apart from its numbers.
struct AdapterDescription {
  /// A kind of module whose rank or rank set is its own.
  struct Module {
    int full_rank = 0;       ///< 0: this kind has no adapter
    RankSet train_ranks{1};  ///< at most full_rank
  };

  AdapterKind kind = AdapterKind::lora;                   ///< how it is trained
  Scaling scaling = Scaling::none;                        ///< s_r as a function of r
  int full_rank = 8;                                      ///< of the adapter: no kind has more
  RankSet train_ranks{8};                                 ///< of the adapter: what draws are made from
  std::optional<double> foreign_scale{};                  ///< of an imported adapter whose scale is none of the three modes'
  std::array<std::optional<Module>, module_kinds> own{};  ///< kinds that differ from the adapter

  /// s_r, the factor on the rank-r prefix at inference.
  [[nodiscard]] double scale_at(int r) const { return foreign_scale ? *foreign_scale : scale(scaling, r); }

  /// Rank and rank set of a kind.
  [[nodiscard]] Module module(std::size_t k) const { return own[k] ? *own[k] : Module{full_rank, train_ranks}; }

  /// The full rank of every kind.
  [[nodiscard]] ModuleRanks full_ranks() const { return ranks_at(full_rank); }

  /// The rank of every kind where the adapter is read at rank r: a kind that has less is read whole.
  [[nodiscard]] ModuleRanks ranks_at(int r) const {
    ModuleRanks ranks;
    for (std::size_t k = 0; k < module_kinds; ++k) ranks.of[k] = std::min(r, module(k).full_rank);
    return ranks;
  }
};

/// How an adapter is read at a rank: the paper drops p (`prefix`), `weighted` keeps Algorithm 1's p on the prefix.
enum class Inference { prefix, weighted };

}  // namespace linden
