#pragma once
/// \file
/// P of the adapter formula y = x W^T + ((x A) ⊙ P) B, as the model's passes take it.

#include <linden/core/tensor.hpp>

namespace linden {

/// P of the adapter formula: one row for all tokens (stride 0) or one row per token, of the active rank.
template <class T>
struct RankRows {
  const T* data = nullptr;
  long active_rank = 0;
  long stride = 0;

  [[nodiscard]] auto view(long token_count) const {
    return TensorView<const T, Shape<tokens, rank>>::strided(data, token_count, active_rank, stride).named("P");
  }
};

}  // namespace linden
