#pragma once
/// \file
/// The matrix product, transposes folded in, and products with a diagonal matrix.
/// Shapes  a [M, K] * b [K, N] -> [M, N]; transpose(a) [N, M]; a * diag(p) scales columns, diag(p) * a scales rows.
/// Errors  inner extents that differ do not compile; both are printed.
/// Source  Giles 2008, "Collected Matrix Derivative Results": dA = G B^T, dB = A^T G.

#include <linden/ops/elementwise.hpp>
#include <linden/ops/gemm.hpp>

namespace linden {

/// attributes: {a is transposed, b is transposed}.
struct MatMul {
  static constexpr const char* name = "matmul";
  static constexpr int arity = 2;
  static constexpr bool accumulates = true;
  static constexpr unsigned reads_stored = 0b10;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&a = call.inputs[0], &b = call.inputs[1], &c = call.results[0];
    const bool ta = call.attributes[0] != 0, tb = call.attributes[1] != 0;
    gemm<T>(c.rows, c.columns, ta ? a.rows : a.columns, {a.data, a.stride, ta}, {b.data, b.stride, tb, b.half}, c.data, c.stride,
            c.accumulate);
  }
  static constexpr void vjp(Vjp& v);
};

/// [M, N] -> [N, M].
struct Transpose {
  static constexpr const char* name = "transpose";
  static constexpr int arity = 1;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    parallel_for(y.rows, y.columns, [&](long first, long last) {
      for (long i = first; i < last; ++i)
        for (long j = 0; j < y.columns; ++j) y.row(i)[j] = x.row(j)[i];
    });
  }
  static constexpr void vjp(Vjp& v);
};

namespace symbolic {

/// a^T; that of a transpose is what it was made of.
constexpr Value transpose(Value a) {
  const Node n = node(a);
  if (n.op == &descriptor<Transpose>) return {a.graph, n.inputs[0]};
  return apply<Transpose>(n.columns, n.rows, {}, a);
}

/// op(a) op(b); a transposed factor is read in place.
constexpr Value matmul(Value a, Value b, bool ta = false, bool tb = false) {
  if (node(a).op == &descriptor<Transpose>) return matmul({a.graph, node(a).inputs[0]}, b, !ta, tb);
  if (node(b).op == &descriptor<Transpose>) return matmul(a, {b.graph, node(b).inputs[0]}, ta, !tb);
  const long inner_a = ta ? node(a).rows : node(a).columns, inner_b = tb ? node(b).columns : node(b).rows;
  if (inner_a != inner_b) throw "linden::matmul: inner extents differ";
  return apply<MatMul>(ta ? node(a).columns : node(a).rows, tb ? node(b).rows : node(b).columns,
                       {ta ? 1.0 : 0.0, tb ? 1.0 : 0.0}, a, b);
}

}  // namespace symbolic

constexpr void MatMul::vjp(Vjp& v) {
  const bool ta = v.attribute(0) != 0, tb = v.attribute(1) != 0;
  const Value a = v.input(0), b = v.input(1), g = v.upstream();
  if (v.wants(0)) v.gradient(0, ta ? symbolic::matmul(b, g, tb, true) : symbolic::matmul(g, b, false, !tb));
  if (v.wants(1)) v.gradient(1, tb ? symbolic::matmul(g, a, true, ta) : symbolic::matmul(a, g, !ta, false));
}
constexpr void Transpose::vjp(Vjp& v) { v.gradient(0, symbolic::transpose(v.upstream())); }

/// The matrix product.
template <long M, long K, long L, long N>
constexpr Expr<Shape<M, N>> operator*(Expr<Shape<M, K>> a, Expr<Shape<L, N>> b) {
  static_assert(K == L, "linden: a * b: columns of a must equal rows of b; did you mean a * transpose(b)?");
  if constexpr (K == L)
    return Expr<Shape<M, N>>(symbolic::matmul(a, b));
  else
    return Expr<Shape<M, N>>(a);
}

/// Read in place by a product; copied only where something else needs it.
template <long M, long N>
constexpr Expr<Shape<N, M>> transpose(Expr<Shape<M, N>> a) {
  return Expr<Shape<N, M>>(symbolic::transpose(a));
}

/// The diagonal matrix of p, never stored.
template <long N>
struct Diagonal {
  Expr<Shape<N>> p;  ///< its diagonal
};

/// The diagonal matrix of a row, for products: x * diag(p) is x with column j times p[j].
template <long N>
constexpr Diagonal<N> diag(Expr<Shape<N>> p) {
  return {p};
}

/// a diag(p): column j times p[j].
template <long M, long N, long L>
constexpr Expr<Shape<M, N>> operator*(Expr<Shape<M, N>> a, Diagonal<L> d) {
  static_assert(N == L, "linden: a * diag(p): columns of a must equal the length of p");
  if constexpr (N == L)
    return hadamard(a, d.p);
  else
    return a;
}

/// diag(p) a: row i times p[i].
template <long L, long M, long N>
constexpr Expr<Shape<M, N>> operator*(Diagonal<L> d, Expr<Shape<M, N>> a) {
  static_assert(L == M, "linden: diag(p) * a: the length of p must equal the rows of a");
  if constexpr (L == M)
    return hadamard(a, Expr<Shape<M, 1>>(symbolic::transpose(d.p)));
  else
    return a;
}

}  // namespace linden
