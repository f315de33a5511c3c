#pragma once
/// \file
/// Tensor owns aligned memory, TensorView refers to somebody else's. Both are row-major matrices whose shape is part of
/// their type; named extents are given when they are made.
/// Shapes  a view's rows lie `stride` elements apart: stride 0 shows one row again and again, a stride above the column
///         count reads the first columns of a wider matrix (an adapter's rank prefix) without a copy.
/// Errors  ShapeError when a run-time size is negative or the stride does not fit.

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <linden/core/shape.hpp>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace linden {

inline constexpr std::size_t alignment = 64;  ///< bytes: a cache line, and the widest vector register

namespace detail {
/// Large memory in large pages, where the system has them to give: fewer addresses to translate, fewer page faults.
inline void* allocate_aligned(std::size_t bytes) {
  void* const memory = ::operator new(bytes, std::align_val_t{alignment});
#ifdef MADV_HUGEPAGE
  constexpr std::size_t page = std::size_t{1} << 21U;
  const auto first = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // a wish: it may fail
#endif
  return memory;
}
struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{alignment}); }
};
/// The run-time sizes of `S`: the numbers of the shape, with `given` (in order) for its names.
template <class S>
constexpr std::array<long, 2> sizes_of(std::array<long, 2> given) {
  std::array<long, 2> sizes{};
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < 2; ++axis)
    sizes[axis] = S::padded[axis] > 0 ? S::padded[axis] : given[next++];
  return sizes;
}
}  // namespace detail

/// Uninitialised, aligned memory for `count` elements of T. Trivial types only.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Room for `count` elements, whose values are not set.
  explicit AlignedBuffer(std::size_t count)
      : memory_(static_cast<T*>(detail::allocate_aligned(count * sizeof(T)))), count_(count) {
    static_assert(std::is_trivially_copyable_v<T>);
  }
  /// Makes room for `count` elements; what was in the buffer is lost when it grows. Never shrinks.
  void reserve(std::size_t count) {
    if (count > count_) *this = AlignedBuffer(count);
  }
  [[nodiscard]] T* data() const { return memory_.get(); }               ///< the first element, or null
  [[nodiscard]] std::size_t size() const { return count_; }             ///< elements there is room for
  [[nodiscard]] std::span<T> span() const { return {data(), count_}; }  ///< all elements

 private:
  std::unique_ptr<T, detail::AlignedDelete> memory_;
  std::size_t count_ = 0;
};

/// Refers to a matrix of `T` it does not own. `T` is const for read-only views.
template <class T, class S>
class TensorView {
 public:
  using element = std::remove_const_t<T>;  ///< T without const
  using shape = S;                         ///< its Shape
  static_assert(Element<element>, "linden::TensorView: T is float, double, bfloat16, float16 or int32");

  TensorView() = default;
  /// Not bound to memory yet; `name` is what errors and printed plans call it.
  constexpr TensorView(const char* name) : name_(name) {}
  /// Contiguous rows at `data`; one size for each named extent of the shape, in order.
  explicit TensorView(T* data, std::convertible_to<long> auto... named)
      : TensorView(data, detail::sizes_of<S>({static_cast<long>(named)...}), -1) {
    static_assert(sizeof...(named) == S::named, "linden::TensorView: give one size for each named extent");
  }
  /// Any rows, columns and row stride (in elements).
  static TensorView strided(T* data, long rows, long columns, long stride) {
    return TensorView(data, {rows, columns}, stride);
  }
  /// A mutable view is also a read-only one.
  operator TensorView<const T, S>() const
    requires(!std::is_const_v<T>)
  {
    return TensorView<const T, S>::strided(data_, sizes_[0], sizes_[1], stride_).named(name_);
  }

  [[nodiscard]] T* data() const { return data_; }           ///< the first element of the first row
  [[nodiscard]] long rows() const { return sizes_[0]; }     ///< run-time size of the first axis, 1 for a row or a scalar
  [[nodiscard]] long columns() const { return sizes_[1]; }  ///< run-time size of the last axis, 1 for a scalar
  [[nodiscard]] long stride() const { return stride_; }     ///< elements from row to row
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(sizes_[0] * sizes_[1]); }  ///< rows times columns
  [[nodiscard]] const char* name() const { return name_; }  ///< what errors and printed plans call it, or null
  /// The same view under another name.
  [[nodiscard]] TensorView named(const char* name) const {
    TensorView copy = *this;
    copy.name_ = name;
    return copy;
  }
  /// Counted from 0; not checked.
  T& operator()(long row, long column) const { return data_[row * stride_ + column]; }
  /// Counted from 0 over the rows, one after the other; not checked.
  T& operator[](long index) const { return (*this)(index / sizes_[1], index % sizes_[1]); }
  /// The elements in order; the rows must be contiguous.
  [[nodiscard]] std::span<T> span() const { return {data_, size()}; }

 private:
  TensorView(T* data, std::array<long, 2> sizes, long stride)
      : data_(data), sizes_(sizes), stride_(stride < 0 ? sizes[1] : stride) {
    if (sizes[0] < 0 || sizes[1] < 0 || (stride_ != 0 && stride_ < sizes[1]))
      throw ShapeError(text("linden::TensorView: ", sizes[0], " rows of ", sizes[1], " columns cannot lie ", stride_,
                            " elements apart"));
  }

  T* data_ = nullptr;
  std::array<long, 2> sizes_{};
  long stride_ = 0;
  const char* name_ = nullptr;
};

/// Owns a matrix of `T`, zero at first.
template <class T, class S>
class Tensor {
 public:
  using element = T;  ///< the type of its elements
  using shape = S;    ///< its Shape

  /// One size for each named extent of the shape, in order: `Tensor<float, Shape<tokens, 64>> x(128)`.
  explicit Tensor(std::convertible_to<long> auto... named) : Tensor(Sized{detail::sizes_of<S>({static_cast<long>(named)...})}) {
    static_assert(sizeof...(named) == S::named, "linden::Tensor: give one size for each named extent");
  }
  /// Copies the elements, and the name.
  Tensor(const Tensor& other) : Tensor(Sized{{other.rows(), other.columns()}}) {
    std::ranges::copy(other.span(), span().begin());
    view_ = view_.named(other.view_.name());
  }
  /// Takes the memory over.
  Tensor(Tensor&& other) noexcept = default;
  /// By copy or by move, as the argument was made.
  Tensor& operator=(Tensor other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(view_, other.view_);
    return *this;
  }
  ~Tensor() = default;

  /// A matrix of explicit size, for code that knows the extents only at run time.
  static Tensor sized(long rows, long columns) { return Tensor(Sized{{rows, columns}}); }

  [[nodiscard]] TensorView<T, S> view() { return view_; }              ///< all of it, to be written
  [[nodiscard]] TensorView<const T, S> view() const { return view_; }  ///< all of it, to be read
  [[nodiscard]] T* data() { return view_.data(); }                     ///< the first element; rows are contiguous
  [[nodiscard]] const T* data() const { return view_.data(); }         ///< the first element; rows are contiguous
  [[nodiscard]] long rows() const { return view_.rows(); }         ///< run-time size of the first axis, 1 for a row or a scalar
  [[nodiscard]] long columns() const { return view_.columns(); }   ///< run-time size of the last axis, 1 for a scalar
  [[nodiscard]] std::size_t size() const { return view_.size(); }  ///< rows times columns
  [[nodiscard]] std::span<T> span() { return view_.span(); }       ///< all elements, row by row
  [[nodiscard]] std::span<const T> span() const { return {view_.data(), view_.size()}; }  ///< all elements, row by row
  /// Counted from 0; not checked.
  T& operator()(long row, long column) { return view_(row, column); }
  /// Counted from 0; not checked.
  const T& operator()(long row, long column) const { return view_(row, column); }
  /// Counted from 0 over the rows, one after the other; not checked.
  T& operator[](long index) { return view_[index]; }
  /// Counted from 0 over the rows, one after the other; not checked.
  const T& operator[](long index) const { return view_[index]; }
  /// Names the tensor for error messages.
  Tensor& named(const char* name) {
    view_ = view_.named(name);
    return *this;
  }

 private:
  struct Sized {
    std::array<long, 2> sizes;
  };
  explicit Tensor(Sized given)
      : memory_(checked_count(given.sizes)),
        view_(TensorView<T, S>::strided(memory_.data(), given.sizes[0], given.sizes[1], given.sizes[1])) {
    std::ranges::fill(span(), T{});
  }
  static std::size_t checked_count(std::array<long, 2> sizes) {
    if (sizes[0] < 0 || sizes[1] < 0)
      throw ShapeError(text("linden::Tensor: sizes must not be negative, got ", sizes[0], " x ", sizes[1]));
    return static_cast<std::size_t>(sizes[0]) * static_cast<std::size_t>(sizes[1]);
  }

  AlignedBuffer<T> memory_;
  TensorView<T, S> view_;
};

/// Anything that holds a matrix with a shape in its type: Tensor and TensorView.
template <class T>
concept TensorLike = requires(T& t) {
  typename std::remove_cvref_t<T>::element;
  typename std::remove_cvref_t<T>::shape;
  t.data();
  t.rows();
};

}  // namespace linden
