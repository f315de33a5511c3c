#pragma once
/// \file
/// The rows of P (model/module_kinds.hpp) of an adapter: one rank for all tokens, or a rank per sequence of a packed batch. The
/// latter trains the stratified kind, and evaluates every rank in one pass over the base weights.
/// Errors  UsageError for a rank the adapter does not have, or p of an adapter that has none.

#include <linden/model/adapter_description.hpp>
#include <span>
#include <vector>

namespace linden {

/// Owns the rows of P of every kind. Kinds of equal rank and rank set share theirs.
template <class T>
class WeightingRows {
 public:
  /// No rows yet: call `set`.
  explicit WeightingRows(const AdapterDescription& description) : description_(description) {
    for (std::size_t kind = 0; kind < module_kinds; ++kind) {
      const AdapterDescription::Module module = description.module(kind);
      const auto same = std::ranges::find_if(groups_, [&](const AdapterDescription::Module& other) {
        return other.full_rank == module.full_rank && other.train_ranks == module.train_ranks;
      });
      group_of_[kind] = static_cast<std::size_t>(same - groups_.begin());
      if (same == groups_.end()) groups_.push_back(module);
    }
    values_.resize(groups_.size());
    active_.resize(groups_.size());
  }

  /// All tokens at rank r; 0 is the base model alone.
  void set(int r, Inference inference = Inference::prefix) {
    const std::array<int, 1> rank{r};
    const std::array<std::int32_t, 2> offsets{0, 1};
    set(rank, offsets, inference);
    per_token_ = false;
  }

  /// Sequence s, the tokens [offsets[s], offsets[s + 1]), at rank ranks[s]; 0 is the base model alone. Allocates nothing once
  /// it has seen the largest batch.
  void set(std::span<const int> ranks, std::span<const std::int32_t> offsets, Inference inference = Inference::prefix) {
    for (const int r : ranks)
      if (r < 0 || r > description_.full_rank)
        throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", description_.full_rank));
    per_token_ = true;
    const int widest = ranks.empty() ? 0 : *std::ranges::max_element(ranks);
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      const int full_rank = groups_[group].full_rank;
      active_[group] = std::min(widest, full_rank);
      fill(values_[group], group, ranks, offsets, inference);
    }
  }

  /// The rows as the model's passes take them.
  [[nodiscard]] RankRows<T> rows() const {
    std::array<typename RankRows<T>::Rows, module_kinds> rows;
    for (std::size_t kind = 0; kind < module_kinds; ++kind) {
      const std::size_t group = group_of_[kind];
      rows[kind] = {values_[group].data(), active_[group], per_token_ ? active_[group] : 0};
    }
    return RankRows<T>(rows);
  }

 private:
  void fill(std::vector<T>& values, std::size_t group, std::span<const int> ranks, std::span<const std::int32_t> offsets,
            Inference inference) const {
    const auto width = static_cast<std::size_t>(active_[group]);
    values.assign(static_cast<std::size_t>(offsets.back()) * width, T(0));
    if (width == 0) return;
    for (std::size_t s = 0; s < ranks.size(); ++s) {
      const int r = std::min(ranks[s], groups_[group].full_rank);
      if (r == 0) continue;
      const auto first = static_cast<std::size_t>(offsets[s]), last = static_cast<std::size_t>(offsets[s + 1]);
      write_row(std::span(values).subspan(first * width, static_cast<std::size_t>(r)), group, inference);
      for (std::size_t t = first + 1; t < last; ++t)
        std::copy_n(values.begin() + static_cast<long>(first * width), r, values.begin() + static_cast<long>(t * width));
    }
  }

  /// The row of a group at rank row.size().
  void write_row(std::span<T> row, std::size_t group, Inference inference) const {
    const int r = static_cast<int>(row.size());
    if (inference == Inference::prefix) {
      std::ranges::fill(row, static_cast<T>(description_.scale_at(r)));
      return;
    }
    if (description_.kind != AdapterKind::matryoshka)
      throw UsageError(text("weighted inference keeps MatryoshkaLoRA's p; this adapter is of kind ", to_string(description_.kind)));
    std::vector<T> p(static_cast<std::size_t>(groups_[group].full_rank));
    matryoshka_weights(p, groups_[group].train_ranks, description_.scaling);
    std::copy_n(p.begin(), r, row.begin());
  }

  AdapterDescription description_;
  std::vector<AdapterDescription::Module> groups_;       // rank and rank set of each group of kinds
  std::array<std::size_t, module_kinds> group_of_{};
  std::vector<std::vector<T>> values_;                   // [group]: rows of active_[group] elements
  std::vector<long> active_;
  bool per_token_ = false;
};

}  // namespace linden
