#pragma once
/// \file
/// Sizes that contain run-time extents, and first-fit placement of buffers of such sizes.
/// A matrix of [tokens, 64] takes 64 columns of the pool that grows with `tokens`; [tokens, rank] one column of the pool that
/// grows with tokens * rank; a matrix of numbers alone lives in the pool that does not grow. Pools are planned one by one.
/// Units   columns; a column of a pool holds as many elements as the product of the pool's run-time extents.

#include <algorithm>
#include <array>
#include <linden/core/shape.hpp>

namespace linden {

/// Elements as columns of a pool, which is named by up to two run-time extents (0: none).
struct Extent {
  long first = 0, second = 0;  ///< run-time extents that multiply the columns, 0: none
  long columns = 0;            ///< elements for one combination of them

  static constexpr long granule = 16;  ///< elements: buffers start on cache lines

  /// For `times` matrices of these extents.
  static constexpr Extent of(long row_count, long column_count, long times = 1) {
    Extent e{.columns = times};
    for (const long extent : {row_count, column_count}) {
      if (extent > 0)
        e.columns *= extent;
      else if (e.first == 0)
        e.first = extent;
      else
        e.second = extent;
    }
    if (e.first < e.second && e.second != 0) std::swap(e.first, e.second);
    if (e.first == 0) e.columns = (e.columns + granule - 1) / granule * granule;
    return e;
  }
  /// True where both are measured in the same run-time extents.
  [[nodiscard]] constexpr bool same_pool(const Extent& other) const {
    return first == other.first && second == other.second;
  }
  /// Elements in one column.
  [[nodiscard]] constexpr long column_size(const Sizes& sizes) const {
    if (first == 0) return 1;
    const long count = sizes.of(first) * (second == 0 ? 1 : sizes.of(second));
    return (count + granule - 1) / granule * granule;
  }
};

/// Columns needed of each pool.
struct Pools {
  static constexpr int capacity = 16;    ///< pools, at most
  std::array<Extent, capacity> pools{};  ///< the first `count` are in use
  int count = 0;                         ///< pools there are

  /// The pool of `extent`, added if new.
  constexpr Extent& pool(const Extent& extent) {
    for (int k = 0; k < count; ++k)
      if (pools[static_cast<std::size_t>(k)].same_pool(extent)) return pools[static_cast<std::size_t>(k)];
    if (count == capacity) throw "linden: a function may combine its run-time extents in at most 16 ways";
    pools[static_cast<std::size_t>(count)] = {.first = extent.first, .second = extent.second};
    return pools[static_cast<std::size_t>(count++)];
  }
  /// Elements of all pools together.
  [[nodiscard]] constexpr long elements(const Sizes& sizes) const {
    long total = 0;
    for (int k = 0; k < count; ++k)
      total += pools[static_cast<std::size_t>(k)].columns * pools[static_cast<std::size_t>(k)].column_size(sizes);
    return total;
  }
  /// Element at which column `offset` of a pool begins.
  [[nodiscard]] constexpr long position(const Extent& extent, long offset, const Sizes& sizes) const {
    long start = 0;
    for (int k = 0; k < count; ++k) {
      const Extent& pool = pools[static_cast<std::size_t>(k)];
      if (pool.same_pool(extent)) return start + offset * pool.column_size(sizes);
      start += pool.columns * pool.column_size(sizes);
    }
    return start;
  }
  /// Columns of the pool that grows with `a` alone (or with a * b).
  [[nodiscard]] constexpr long columns_per(long a, long b = 0) const {
    for (int k = 0; k < count; ++k) {
      const Extent& pool = pools[static_cast<std::size_t>(k)];
      if ((pool.first == a && pool.second == b) || (pool.first == b && pool.second == a)) return pool.columns;
    }
    return 0;
  }
};

namespace detail {

/// Gives every buffer the lowest columns that are free from its first step to its last.
class FirstFit {
 public:
  constexpr long place(const Extent& extent, int from, int to) {
    long offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (int k = 0; k < count_; ++k) {
        const Buffer& other = buffers_[static_cast<std::size_t>(k)];
        if (other.to < from || other.from > to || !other.extent.same_pool(extent)) continue;
        if (other.offset < offset + extent.columns && offset < other.offset + other.extent.columns) {
          offset = other.offset + other.extent.columns;
          moved = true;
        }
      }
    }
    extend(extent, offset, from, to);
    return offset;
  }
  /// Notes that the columns at `offset` are in use from step `from` to `to`.
  constexpr void extend(const Extent& extent, long offset, int from, int to) {
    buffers_[static_cast<std::size_t>(count_++)] = {extent, offset, from, to};
    Extent& pool = pools_.pool(extent);
    pool.columns = std::max(pool.columns, offset + extent.columns);
  }
  [[nodiscard]] constexpr const Pools& pools() const { return pools_; }

 private:
  struct Buffer {
    Extent extent{};
    long offset = 0;
    int from = 0, to = 0;
  };
  std::array<Buffer, 512> buffers_{};
  int count_ = 0;
  Pools pools_{};
};

}  // namespace detail
}  // namespace linden
