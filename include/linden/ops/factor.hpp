#pragma once
/// \file
/// A factor of a matrix product: where its elements lie, and how they are stored.

#include <linden/core/element.hpp>

namespace linden {

/// One factor of a product: rows `stride` apart, in `data` or (second factors only) in `half`; `transposed` means it is
/// used as its transpose.
template <class T>
struct Factor {
  const T* data;                   ///< as stored, row-major
  long stride;                     ///< elements from row to row as stored
  bool transposed = false;         ///< used as its transpose
  const bfloat16* half = nullptr;  ///< set instead of data where the elements are stored as bfloat16

  /// The factor from element (row, column) on, of what it is used as.
  [[nodiscard]] Factor from(long row, long column) const {
    const long elements = transposed ? column * stride + row : row * stride + column;
    Factor rest = *this;
    if (half != nullptr)
      rest.half += elements;
    else
      rest.data += elements;
    return rest;
  }
};

}  // namespace linden
