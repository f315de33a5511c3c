#pragma once
/// \file
/// Adding: the two operations every gradient needs. `add` joins contributions, `sum_to` undoes a repetition.
/// Shapes  add: equal, or one side has 1 row and/or 1 column and is repeated. sum_to: [M, N] -> [M, 1], [1, N] or [1, 1].
/// Order   sums run over rows, then columns, in fixed pieces: the same bits for any number of threads.

#include <array>
#include <linden/core/parallel.hpp>
#include <linden/graph/differentiate.hpp>

namespace linden {

namespace symbolic {

/// Extent of an axis after repeating extents of 1. A mismatch does not compile.
[[nodiscard]] constexpr long broadcast_extent(long a, long b) {
  if (a != b && a != 1 && b != 1) throw "linden: extents that are neither equal nor 1 cannot be combined";
  return a == 1 ? b : a;
}

/// Op of two values, repeated to a common shape.
template <class Op>
constexpr Value broadcast_apply(Value a, Value b) {
  return apply<Op>(broadcast_extent(node(a).rows, node(b).rows), broadcast_extent(node(a).columns, node(b).columns), {}, a, b);
}

}  // namespace symbolic

/// a + b; what is one row or one column is repeated.
struct Add {
  static constexpr const char* name = "add";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  template <class T>
  static constexpr T element(T a, T b) {
    return a + b;
  }
  static constexpr void vjp(Vjp& v) {
    v.gradient(0, v.upstream());
    v.gradient(1, v.upstream());
  }
};

/// A smaller matrix repeated to the node's shape.
struct Expand {
  static constexpr const char* name = "expand";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T a) {
    return a;
  }
  static constexpr void vjp(Vjp& v) { v.gradient(0, v.upstream()); }
};

/// Sums over rows, over columns, or over both.
struct SumTo {
  static constexpr const char* name = "sum_to";
  static constexpr int arity = 1;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>& x = call.inputs[0];
    const Operand<T>& y = call.results[0];
    // Sizes may agree on an axis that is summed: a named extent can be 1 today.
    if (y.columns == x.columns && (y.rows != x.rows || x.rows == 1)) return sum_rows(x, y);
    if (y.rows == x.rows)
      return parallel_for(x.rows, x.columns, [&](long first, long last) {
        for (long i = first; i < last; ++i) *y.row(i) = sum_range(x, i, i + 1);
      });
    std::array<T, 64> partial{};  // fixed pieces, added in order
    const long pieces = std::min(64L, x.rows);
    LINDEN_OMP(omp parallel for schedule(static) if (x.rows * x.columns > parallel_threshold))
    for (long p = 0; p < pieces; ++p)
      partial[static_cast<std::size_t>(p)] = sum_range(x, x.rows * p / pieces, x.rows * (p + 1) / pieces);
    T total = 0;
    for (long p = 0; p < pieces; ++p) total += partial[static_cast<std::size_t>(p)];
    *y.data = total;
  }

  static constexpr void vjp(Vjp& v) {
    const Node& x = symbolic::node(v.input(0));
    v.gradient(0, symbolic::apply<Expand>(x.rows, x.columns, {}, v.upstream()));
  }

 private:
  template <class T>
  static T sum_range(const Operand<T>& x, long first, long last) {
    T total = 0;
    for (long i = first; i < last; ++i)
      for (long j = 0; j < x.columns; ++j) total += x.row(i)[j];
    return total;
  }
  template <class T>
  static void sum_rows(const Operand<T>& x, const Operand<T>& y) {
    parallel_for(x.columns, x.rows, [&](long first, long last) {
      for (long j = first; j < last; ++j) y.data[j] = 0;
      for (long i = 0; i < x.rows; ++i) {
        const T* row = x.row(i);
        LINDEN_INDEPENDENT
        for (long j = first; j < last; ++j) y.data[j] += row[j];
      }
    });
  }
};

namespace symbolic {

constexpr Value add(Value a, Value b) { return broadcast_apply<Add>(a, b); }  ///< a + b

constexpr Value sum_to_shape(Value gradient, long row_count, long column_count) {
  const Node& g = node(gradient);
  if (g.rows == row_count && g.columns == column_count) return gradient;
  if (g.rows == symbolic::broadcast_extent(g.rows, row_count) && g.columns == broadcast_extent(g.columns, column_count) &&
      (row_count == 1 || row_count == g.rows) && (column_count == 1 || column_count == g.columns))
    return apply<SumTo>(row_count, column_count, {}, gradient);
  // A gradient smaller than its input (a constant, say) stands for every element.
  return apply<Expand>(row_count, column_count, {}, gradient);
}

/// A matrix of zeros.
constexpr Value zeros(Graph& graph, long row_count, long column_count) {
  return apply<Expand>(row_count, column_count, {}, constant(Value{&graph, 0}, 0.0));
}

}  // namespace symbolic

constexpr Value detail::gradient_or_zero(Graph& graph, int gradient, int input) {
  if (gradient >= 0) return {&graph, gradient};
  return symbolic::zeros(graph, graph[input].rows, graph[input].columns);
}

/// Gradients of the scalar product of `y` and `upstream` with respect to `wrt...`, as nodes of the same graph.
/// Use it inside a traced function; `vjp` and `grad` wrap it.
/// \return a tuple of the types of `wrt...`; zeros where y does not depend on one of them.
template <class S, class... E>
constexpr std::tuple<E...> differentiate(Expr<S> y, Expr<S> upstream, E... wrt) {
  const std::array<int, sizeof...(E)> ids{wrt.id...};
  std::array<int, sizeof...(E)> out{};
  detail::differentiate(*y.graph, y.id, upstream.id, ids.data(), static_cast<int>(sizeof...(E)), out.data());
  std::size_t next = 0;
  const auto gradient = [&] {
    const std::size_t k = next++;
    return detail::gradient_or_zero(*y.graph, out[k], ids[k]);
  };
  return std::tuple<E...>{((void)sizeof(E), E(gradient()))...};  // braces: evaluated left to right
}

}  // namespace linden
