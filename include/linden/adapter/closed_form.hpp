#pragma once
/// \file
/// The adapted layer as the paper writes it, and its gradients in closed form, all of them functions to trace. The compiler
/// proves that differentiation arrives at the same expressions: static_assert(same(vjp<2>(Layer{}), GradientA{})).
/// Shapes  row vectors: x [tokens, In], W [In, Out], A [In, R], p [R], B [R, Out], G = dL/dy [tokens, Out]; `Rows` takes
///         P [tokens, R] in p's stead, one row per token. R is a number or the name `rank`. W and p are frozen.
/// Errors  a rank set beyond R does not compile.
/// Source  MatryoshkaLoRA, arXiv:2605.07850, equations 4, 7, 12 and 13 (this file's comments give the number of each).

#include <algorithm>
#include <linden/adapter/weighting.hpp>
#include <linden/graph/function.hpp>
#include <linden/ops/product.hpp>

namespace linden {

/// The leading rows and columns of a matrix, zeros elsewhere: a matrix times a mask of ones and zeros.
/// attributes: {rows kept, columns kept}, 0 for all of them.
struct KeepLeading {
  static constexpr const char* name = "keep_leading";
  static constexpr int arity = 1;
  static constexpr bool cheap = true;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&a = call.inputs[0], &y = call.results[0];
    const long rows_kept = kept(call.attributes[0], y.rows), columns_kept = kept(call.attributes[1], y.columns);
    for (long i = 0; i < y.rows; ++i)
      for (long j = 0; j < y.columns; ++j) y.row(i)[j] = i < rows_kept && j < columns_kept ? a.row(i)[j] : T(0);
  }
  static constexpr void vjp(Vjp& v) {
    v.gradient(0, symbolic::apply<KeepLeading>(v.node().rows, v.node().columns, v.node().attributes, v.upstream()));
  }

 private:
  static long kept(double given, long all) { return given == 0 ? all : std::min(static_cast<long>(given), all); }
};

/// A ⊙ mask: the first r columns of A, the others zero.
template <class S>
constexpr Expr<S> mask_columns(Expr<S> A, int r) {
  return Expr<S>(symbolic::apply<KeepLeading>(S::row_count, S::column_count, {0.0, static_cast<double>(r)}, A));
}

/// B ⊙ mask: the first r rows of B, the others zero.
template <class S>
constexpr Expr<S> mask_rows(Expr<S> B, int r) {
  return Expr<S>(symbolic::apply<KeepLeading>(S::row_count, S::column_count, {static_cast<double>(r), 0.0}, B));
}

/// One adapted layer of `In` inputs, `Out` outputs and rank R: `Layer` and its gradients by hand.
template <long In, long Out, long R = rank>
struct ClosedForm {
  using Input = Expr<Shape<tokens, In>>;              ///< x
  using Weight = Frozen<Expr<Shape<In, Out>>>;        ///< W
  using FactorA = Expr<Shape<In, R>>;                 ///< A
  using Weights = Frozen<Expr<Shape<R>>>;             ///< p
  using WeightRows = Frozen<Expr<Shape<tokens, R>>>;  ///< P
  using FactorB = Expr<Shape<R, Out>>;                ///< B
  using Output = Expr<Shape<tokens, Out>>;            ///< y, and G

  /// Equation 7: y = x W + x A diag(p) B.
  struct Layer {
    /// y [tokens, Out].
    constexpr Output operator()(Input x, Weight W, FactorA A, Weights p, FactorB B) const {
      return x * W + x * A * diag(p) * B;
    }
  };
  /// Equation 12: dA = x^T G B^T diag(p).
  struct GradientA {
    /// dA [In, R].
    constexpr FactorA operator()(Input x, Weight, FactorA, Weights p, FactorB B, Output G) const {
      return transpose(x) * (G * transpose(B) * diag(p));
    }
  };
  /// Equation 13: dB = diag(p) A^T x^T G.
  struct GradientB {
    /// dB [R, Out].
    constexpr FactorB operator()(Input x, Weight, FactorA A, Weights p, FactorB, Output G) const {
      return transpose(x * A * diag(p)) * G;
    }
  };
  /// What flows on to the layer below: dx = G W^T + G B^T diag(p) A^T.
  struct GradientX {
    /// dx [tokens, In].
    constexpr Input operator()(Input, Weight W, FactorA A, Weights p, FactorB B, Output G) const {
      return G * transpose(W) + G * transpose(B) * diag(p) * transpose(A);
    }
  };

  /// The same with a row of P for every token, so that one batch may hold every rank: diag(p) becomes ⊙ P.
  struct Rows {
    /// y = x W + ((x A) ⊙ P) B.
    struct Layer {
      /// y [tokens, Out].
      constexpr Output operator()(Input x, Weight W, FactorA A, WeightRows P, FactorB B) const {
        return x * W + hadamard(x * A, P) * B;
      }
    };
    /// dA = x^T ((G B^T) ⊙ P).
    struct GradientA {
      /// dA [In, R].
      constexpr FactorA operator()(Input x, Weight, FactorA, WeightRows P, FactorB B, Output G) const {
        return transpose(x) * hadamard(G * transpose(B), P);
      }
    };
    /// dB = ((x A) ⊙ P)^T G.
    struct GradientB {
      /// dB [R, Out].
      constexpr FactorB operator()(Input x, Weight, FactorA A, WeightRows P, FactorB, Output G) const {
        return transpose(hadamard(x * A, P)) * G;
      }
    };
    /// dx = G W^T + ((G B^T) ⊙ P) A^T.
    struct GradientX {
      /// dx [tokens, In].
      constexpr Input operator()(Input, Weight W, FactorA A, WeightRows P, FactorB B, Output G) const {
        return G * transpose(W) + hadamard(G * transpose(B), P) * transpose(A);
      }
    };
  };

  /// Equation 4: y = x W + sum over r in Ranks of s_r (x (A ⊙ mask_r)) (B ⊙ mask_r). The definition that equation 7
  /// shortens; one pair of products a rank, so use it to check, not to train.
  template <RankSet Ranks, Scaling Mode>
  struct NestedSum {
    static_assert(R < 0 || Ranks.largest() <= R, "linden::ClosedForm::NestedSum: the largest rank must be at most R");
    /// y [tokens, Out].
    constexpr Output operator()(Input x, Weight W, FactorA A, FactorB B) const {
      Output y = x * W;
      for (const int r : Ranks) y = y + scale(Mode, r) * (x * mask_columns(A, r) * mask_rows(B, r));
      return y;
    }
  };
};

}  // namespace linden
