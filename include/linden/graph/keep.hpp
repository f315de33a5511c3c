#pragma once
/// \file
/// Policies of what a forward pass keeps for its backward pass (graph/pullback.hpp).

namespace linden {

/// What the forward pass keeps for the backward pass.
enum class Keep {
  everything,  ///< every node the backward pass reads
  costly,      ///< not those that elementwise operations and norms rebuild from what is kept anyway
  inputs       ///< nothing but the function's own inputs: the backward pass repeats the forward pass
};

}  // namespace linden
