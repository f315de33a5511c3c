#pragma once
/// \file
/// A training sample: token ids, and which of them are to be learned.

#include <cstdint>
#include <vector>

namespace linden {

/// One row as tokens; `ids` and `labels` have the same length.
struct Sample {
  static constexpr std::int32_t ignored = -100;  ///< the label of a token that is not learned

  std::vector<std::int32_t> ids;     ///< its tokens
  std::vector<std::int32_t> labels;  ///< as many as ids: the token itself, or `ignored`
  long row;                          ///< of the data set, from 0
};

}  // namespace linden
