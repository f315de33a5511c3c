#pragma once
/// \file
/// Where a pass keeps its data and runs its plans: in the CPU's memory. A device offers the same members (kernels/executor.cuh),
/// so that a pass is written once.

#include <algorithm>
#include <cstdint>
#include <linden/backend/executor.hpp>
#include <span>

namespace linden {

/// The CPU as passes use it. cuda::OnDevice has the same members.
struct Host {
  /// Memory for elements: reserve(count), data().
  template <class T>
  using Buffer = AlignedBuffer<T>;

  /// Scratch memory for plans; empty at first.
  template <class T>
  [[nodiscard]] Workspace<T> workspace() const {
    return {};
  }
  /// Where kernels read `elements` until the next call with this buffer: where they are.
  template <class T>
  const T* place(std::span<const T> elements, Buffer<T>&) const {
    return elements.data();
  }
  /// Sets elements to zero.
  template <class T>
  void clear(T* data, std::size_t count) const {
    std::fill_n(data, count, T(0));
  }
  /// From one place that kernels use to another.
  template <class T>
  void copy(const T* from, std::size_t count, T* to) const {
    std::copy_n(from, count, to);
  }
  /// Row i of `from` becomes row places[i] of `to`; rows of both have `columns` elements.
  template <class T>
  void scatter_rows(const T* from, const std::int32_t* places, long rows, long columns, T* to) const {
    for (long i = 0; i < rows; ++i) std::copy_n(from + i * columns, columns, to + places[i] * columns);
  }
  /// The column of the highest element of every row, the first of equals. `elements` [columns.size(), n].
  template <class T>
  void best_columns(const T* elements, long n, std::span<std::int32_t> columns) const {
    for (std::int32_t& best : columns) {
      best = static_cast<std::int32_t>(std::max_element(elements, elements + n) - elements);
      elements += n;
    }
  }
  /// Brings what kernels wrote.
  template <class T>
  void fetch(const T* from, std::span<T> to) const {
    std::ranges::copy_n(from, static_cast<std::ptrdiff_t>(to.size()), to.begin());
  }
};

}  // namespace linden
