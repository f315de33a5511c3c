#pragma once
/// \file
/// Rows of a table by id.
/// Shapes  table [V, N], ids [tokens] -> [tokens, N].
/// Errors  ShapeError when an id lies outside the table, naming the id and its place.

#include <algorithm>
#include <linden/graph/sum.hpp>

namespace linden {

namespace detail {
/// Refuses ids outside [lowest, count).
inline void check_ids(const char* what, const std::int32_t* ids, long n, long lowest, long count) {
  for (long i = 0; i < n; ++i)
    if (ids[i] < lowest || ids[i] >= count)
      throw ShapeError(text("linden::", what, ": id ", ids[i], " at position ", i, " lies outside the vocabulary of ", count));
}
}  // namespace detail

/// d table: row r is the sum of the upstream rows whose id is r, added in order of the tokens. Inputs: dy, ids.
struct EmbeddingBackward {
  static constexpr const char* name = "embedding_backward";
  static constexpr int arity = 2;
  static constexpr bool accumulates = true;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&dy = call.inputs[0], &ids = call.inputs[1], &table = call.results[0];
    parallel_for(table.columns, table.rows + ids.columns, [&](long first, long last) {
      if (!table.accumulate)
        for (long r = 0; r < table.rows; ++r) std::fill(table.row(r) + first, table.row(r) + last, T(0));
      for (long t = 0; t < ids.columns; ++t)
        for (long j = first; j < last; ++j) table.row(ids.ids[t])[j] += dy.row(t)[j];
    });
  }
  static constexpr void vjp(Vjp& v);
};

/// y[t] = table[ids[t]].
struct Embedding {
  static constexpr const char* name = "embedding";
  static constexpr int arity = 2;
  static constexpr unsigned reads_stored = 0b1;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&table = call.inputs[0], &ids = call.inputs[1], &y = call.results[0];
    detail::check_ids(name, ids.ids, ids.columns, 0, table.rows);
    parallel_for(y.rows, y.columns, [&](long first, long last) {
      for (long t = first; t < last; ++t) {
        if (table.half != nullptr)
          std::transform(table.half + ids.ids[t] * table.stride, table.half + ids.ids[t] * table.stride + y.columns, y.row(t),
                         [](bfloat16 element) { return static_cast<T>(float(element)); });
        else
          std::copy_n(table.row(ids.ids[t]), y.columns, y.row(t));
      }
    });
  }
  static constexpr void vjp(Vjp& v) {
    const Node& table = symbolic::node(v.input(0));
    v.gradient(0, symbolic::apply<EmbeddingBackward>(table.rows, table.columns, {}, v.upstream(), v.input(1)));
  }
};

constexpr void EmbeddingBackward::vjp(Vjp& v) {
  const Node& dy = symbolic::node(v.input(0));
  v.gradient(0, symbolic::apply<Embedding>(dy.rows, dy.columns, {}, v.upstream(), v.input(1)));
}

/// Row ids[t] of `table` for every t: [V, N], [M] -> [M, N].
template <long V, long N, long M>
constexpr Expr<Shape<M, N>> embedding(Expr<Shape<V, N>> table, Ids<Shape<M>> ids) {
  return Expr<Shape<M, N>>(symbolic::apply<Embedding>(M, N, {}, table, ids));
}

}  // namespace linden
