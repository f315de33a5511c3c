#pragma once
/// \file
/// A read-only matrix whose elements are stored as T or, half as large, as bfloat16: what frozen weights are. Which of the two
/// is known at run time, so that one compiled function serves both. Kernels compute in T whatever the storage.

#include <linden/core/tensor.hpp>

namespace linden {

template <Real T, class S>
class StoredView {
 public:
  using element = T;
  using shape = S;

  StoredView() = default;
  /// Not bound to memory yet; `name` is what errors and printed plans call it.
  constexpr StoredView(const char* name) : name_(name) {}
  StoredView(TensorView<const T, S> view)
      : data_(view.data()), sizes_{view.rows(), view.columns()}, stride_(view.stride()), name_(view.name()) {}
  StoredView(TensorView<T, S> view) : StoredView(TensorView<const T, S>(view)) {}
  StoredView(TensorView<const bfloat16, S> view)
      : half_(view.data()), sizes_{view.rows(), view.columns()}, stride_(view.stride()), name_(view.name()) {}

  /// The elements if they are stored as T, else null.
  [[nodiscard]] const T* data() const { return data_; }
  /// The elements if they are stored as bfloat16, else null.
  [[nodiscard]] const bfloat16* half() const { return half_; }
  [[nodiscard]] long rows() const { return sizes_[0]; }
  [[nodiscard]] long columns() const { return sizes_[1]; }
  [[nodiscard]] long stride() const { return stride_; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(sizes_[0] * sizes_[1]); }
  [[nodiscard]] const char* name() const { return name_; }
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
  template <class S>
  using tensor = std::conditional_t<S::axes == 2, StoredView<T, S>, TensorView<const T, S>>;
};

}  // namespace linden
