#pragma once
/// \file
/// Sums, means and maxima, over everything or along one axis. Of no rows: 0, NaN and -infinity.
/// Shapes  sum(x) [] of x [M, N]; sum_rows(x) [N] adds the rows up; sum_columns(x) [M, 1] adds each row up. Likewise mean, max.
/// Order   fixed: the same bits for any number of threads. The gradient of a maximum is shared equally among ties.

#include <algorithm>
#include <limits>
#include <linden/ops/elementwise.hpp>

namespace linden {

/// 1 / (number of elements of x that fall into one element of the result): [1, 1]. attributes: {over rows, over columns}.
struct InverseCount {
  static constexpr const char* name = "inverse_count";
  static constexpr int arity = 1;
  static constexpr bool flat = true;
  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>& x = call.inputs[0];
    const long count = (call.attributes[0] != 0 ? x.rows : 1) * (call.attributes[1] != 0 ? x.columns : 1);
    *call.results[0].data = T(1) / static_cast<T>(count);
  }
};

/// The largest over rows, over columns, or over both; not a number where one is.
struct MaxTo {
  static constexpr const char* name = "max_to";
  static constexpr int arity = 1;
  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    const bool keep_rows = y.rows == x.rows, keep_columns = y.columns == x.columns;
    for (long i = 0; i < y.rows; ++i) std::fill_n(y.row(i), y.columns, -std::numeric_limits<T>::infinity());
    for (long i = 0; i < x.rows; ++i)
      for (long j = 0; j < x.columns; ++j) {
        T& best = y.row(keep_rows ? i : 0)[keep_columns ? j : 0];
        if (best == best && !(x.row(i)[j] <= best)) best = x.row(i)[j];  // NaN wins and stays
      }
  }
  static constexpr void vjp(Vjp& v) {
    const Node& y = v.node();
    const Value ties = symbolic::broadcast_apply<Equal>(v.input(0), v.output());
    const Value share = symbolic::divide(v.upstream(), symbolic::sum_to_shape(ties, y.rows, y.columns));
    v.gradient(0, symbolic::hadamard(share, ties));
  }
};

namespace symbolic {
/// The mean over the axes that become 1.
constexpr Value mean_to(Value x, long row_count, long column_count) {
  const Value inverse = apply<InverseCount>(
      1, 1, {row_count == node(x).rows ? 0.0 : 1.0, column_count == node(x).columns ? 0.0 : 1.0}, x);
  return hadamard(sum_to_shape(x, row_count, column_count), inverse);
}
/// The largest over the axes that become 1.
constexpr Value max_to(Value x, long row_count, long column_count) {
  return apply<MaxTo>(row_count, column_count, {}, x);
}
}  // namespace symbolic

/// The sum of all elements.
template <class S>
constexpr Expr<Shape<>> sum(Expr<S> x) {
  return Expr<Shape<>>(symbolic::sum_to_shape(x, 1, 1));
}
/// Column by column, the sum over the rows.
template <long M, long N>
constexpr Expr<Shape<N>> sum_rows(Expr<Shape<M, N>> x) {
  return Expr<Shape<N>>(symbolic::sum_to_shape(x, 1, N));
}
/// Row by row, the sum over the columns.
template <long M, long N>
constexpr Expr<Shape<M, 1>> sum_columns(Expr<Shape<M, N>> x) {
  return Expr<Shape<M, 1>>(symbolic::sum_to_shape(x, M, 1));
}
/// The mean of all elements.
template <class S>
constexpr Expr<Shape<>> mean(Expr<S> x) {
  return Expr<Shape<>>(symbolic::mean_to(x, 1, 1));
}
/// Column by column, the mean over the rows.
template <long M, long N>
constexpr Expr<Shape<N>> mean_rows(Expr<Shape<M, N>> x) {
  return Expr<Shape<N>>(symbolic::mean_to(x, 1, N));
}
/// Row by row, the mean over the columns.
template <long M, long N>
constexpr Expr<Shape<M, 1>> mean_columns(Expr<Shape<M, N>> x) {
  return Expr<Shape<M, 1>>(symbolic::mean_to(x, M, 1));
}
/// The largest of all elements.
template <class S>
constexpr Expr<Shape<>> max(Expr<S> x) {
  return Expr<Shape<>>(symbolic::max_to(x, 1, 1));
}
/// Column by column, the largest over the rows.
template <long M, long N>
constexpr Expr<Shape<N>> max_rows(Expr<Shape<M, N>> x) {
  return Expr<Shape<N>>(symbolic::max_to(x, 1, N));
}
/// Row by row, the largest over the columns.
template <long M, long N>
constexpr Expr<Shape<M, 1>> max_columns(Expr<Shape<M, N>> x) {
  return Expr<Shape<M, 1>>(symbolic::max_to(x, M, 1));
}

}  // namespace linden
