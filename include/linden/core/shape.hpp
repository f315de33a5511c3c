#pragma once
/// \file
/// Extents and shapes. A positive extent is known to the compiler; a negative one is a name (`tokens`, `rank`, ...) whose
/// size arrives with the tensors of a call. Two different names never match, the same name always does.
/// Shapes  at most two axes: Shape<> is a scalar, Shape<N> a row of N, Shape<M, N> M rows of N, row-major.

#include <array>
#include <cstddef>
#include <linden/core/error.hpp>  // text
#include <string>

/// The library. What its users may not rely on is in `linden::detail`.
namespace linden {

/// Named extents. Your own names: any value from `own_extent` down to -16.
/// Enumerators, so that a local variable called `rank` or `tokens` shadows nothing.
enum NamedExtent : long {
  tokens = -1,      ///< tokens of a packed batch
  sequences = -2,   ///< sequences of a packed batch
  rank = -3,        ///< active adapter rank
  cached = -4,      ///< rows of a key-value cache
  vocabulary = -5,  ///< vocabulary known at run time
  any_rows = -6,
  any_columns = -7,
  own_extent = -8,   ///< the first name free for users
  module_rank = -17  ///< the first of eight ranks, one for each adapted module of a block
};
inline constexpr long named_extents = 24;  ///< how many names there are: -1 to -24

/// "tokens" for a name, the digits for a number.
[[nodiscard]] inline std::string extent_name(long extent) {
  constexpr std::array<const char*, 7> names{"tokens", "sequences", "rank", "cached", "vocabulary", "any_rows", "any_columns"};
  if (extent >= 0) return text(extent);
  const auto index = static_cast<std::size_t>(-extent - 1);
  if (index < names.size()) return names[index];
  return extent > module_rank ? text("extent", extent) : text("rank of module ", module_rank - extent);
}

/// The extents of a scalar, a row or a matrix, each a number or a name.
template <long... Extent>
struct Shape {
  static_assert(sizeof...(Extent) <= 2, "linden::Shape: at most two axes");
  static_assert(((Extent != 0 && Extent >= -named_extents) && ...),
                "linden::Shape: an extent is positive, or a name from -1 to -24");
  static constexpr int axes = static_cast<int>(sizeof...(Extent));  ///< 0, 1 or 2
  /// The extents as those of a matrix: missing ones are 1.
  static constexpr std::array<long, 2> padded = [] {
    std::array<long, 2> matrix{1, 1};
    const std::array<long, sizeof...(Extent) + 1> given{Extent..., 0};
    for (std::size_t axis = 0; axis < sizeof...(Extent); ++axis) matrix[axis + 2 - sizeof...(Extent)] = given[axis];
    return matrix;
  }();
  static constexpr long row_count = padded[0];                    ///< rows seen as a matrix; 1 for scalars and single rows
  static constexpr long column_count = padded[1];                 ///< columns seen as a matrix; 1 for scalars
  static constexpr int named = ((Extent < 0 ? 1 : 0) + ... + 0);  ///< axes whose extent is a name
};

/// Sizes of the named extents, filled while the tensors of a call are bound. 0: not bound yet.
struct Sizes {
  std::array<long, named_extents> bound{};  ///< by the name's place: -name - 1

  /// The size of a named extent, or the number itself.
  [[nodiscard]] constexpr long of(long extent) const {
    return extent > 0 ? extent : bound[static_cast<std::size_t>(-extent - 1)];
  }
  /// Binds a name.
  constexpr Sizes& set(long name, long size) {
    bound[static_cast<std::size_t>(-name - 1)] = size;
    return *this;
  }
};

}  // namespace linden
