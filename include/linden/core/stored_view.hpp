#pragma once
/// \file
/// A read-only matrix whose elements are stored as T or, half as large, as bfloat16: what frozen weights are. Which of the two
/// is known at run time, so that one compiled function serves both. Kernels compute in T whatever the storage.

#include <linden/core/tensor.hpp>

namespace linden {

/// A read-only matrix of shape S for kernels that compute in T.
template <Real T, class S>
class StoredView {
 public:
  using element = T;  ///< what kernels compute in
  using shape = S;    ///< its Shape

  StoredView() = default;
  /// Not bound to memory yet; `name` is what errors and printed plans call it.
  constexpr StoredView(const char* name) : name_(name) {}
  /// Elements that are stored as T.
  StoredView(TensorView<const T, S> view)
      : data_(view.data()), sizes_{view.rows(), view.columns()}, stride_(view.stride()), name_(view.name()) {}
  /// Elements that are stored as T.
  StoredView(TensorView<T, S> view) : StoredView(TensorView<const T, S>(view)) {}
  /// Elements that are stored as bfloat16.
  StoredView(TensorView<const bfloat16, S> view)
      : half_(view.data()), sizes_{view.rows(), view.columns()}, stride_(view.stride()), name_(view.name()) {}

  /// The elements if they are stored as T, else null.
  [[nodiscard]] const T* data() const { return data_; }
  /// The elements if they are stored as bfloat16, else null.
  [[nodiscard]] const bfloat16* half() const { return half_; }
  [[nodiscard]] long rows() const { return sizes_[0]; }     ///< its rows
  [[nodiscard]] long columns() const { return sizes_[1]; }  ///< its columns
  [[nodiscard]] long stride() const { return stride_; }     ///< elements from row to row
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(sizes_[0] * sizes_[1]); }  ///< rows times columns
  [[nodiscard]] const char* name() const { return name_; }  ///< what errors and printed plans call it
  /// The element as T, whatever it is stored as.
  T operator()(long row, long column) const {
    const long at = row * stride_ + column;
    return half_ != nullptr ? static_cast<T>(float(half_[at])) : data_[at];
  }

 private:
  const T* data_ = nullptr;
  const bfloat16* half_ = nullptr;
  std::array<long, 2> sizes_{};
  long stride_ = 0;
  const char* name_ = nullptr;
};

/// Record mode: matrices are stored as T or bfloat16, rows (norms, biases) as T.
template <class T>
struct Stored {
  /// Matrices are stored either way, rows and scalars as T.
  template <class S>
  using tensor = std::conditional_t<S::axes == 2, StoredView<T, S>, TensorView<const T, S>>;
};

}  // namespace linden
