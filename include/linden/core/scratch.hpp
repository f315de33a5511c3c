#pragma once
/// \file
/// Memory a kernel needs for itself while it runs. Every thread keeps what it was given and only ever asks for more, so a
/// loop over equal steps allocates in its first round alone.

#include <cstddef>
#include <linden/core/tensor.hpp>  // AlignedBuffer

namespace linden {

/// At least `count` elements of T, aligned, for the calling thread, until it next calls with the same Purpose.
/// Kernels that call each other use different purposes (any type will do).
template <class Purpose, class T>
T* scratch(std::size_t count) {
  thread_local AlignedBuffer<T> memory;
  memory.reserve(count);
  return memory.data();
}

}  // namespace linden
