#pragma once
/// \file
/// Where a pass keeps its data and runs its plans: in the CPU's memory. A device offers the same members (kernels/executor.cuh),
/// so that a pass is written once.

#include <algorithm>
#include <linden/backend/executor.hpp>
#include <span>

namespace linden {

struct Host {
  /// Memory for elements: reserve(count), data().
  template <class T>
  using Buffer = AlignedBuffer<T>;

  template <class T>
  [[nodiscard]] Workspace<T> workspace() const {
    return {};
  }
  /// Where kernels read `elements` until the next call with this buffer: where they are.
  template <class T>
  const T* place(std::span<const T> elements, Buffer<T>&) const {
    return elements.data();
  }
  /// Brings what kernels wrote.
  template <class T>
  void fetch(const T* from, std::span<T> to) const {
    std::ranges::copy_n(from, static_cast<std::ptrdiff_t>(to.size()), to.begin());
  }
};

}  // namespace linden
