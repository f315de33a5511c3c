#pragma once
/// \file
/// The adapted layer: one formula for every kind of adapter.
///
///     y = x W^T + ((x A) ⊙ P) B
///
/// Shapes  x [tokens, in], W [out, in] (as Hugging Face stores it), A [in, R], B [R, out], P [tokens, R]; R is `rank`, or
///         another name where modules of one block have ranks of their own.
///         P is one row for all tokens (bound with row stride 0) or a row per token: s * 1 is LoRA, a prefix of it DyLoRA,
///         Algorithm 1's vector MatryoshkaLoRA, a rank per sequence the stratified kind.
/// Source  arXiv:2605.07850, equation 7.

#include <linden/ops/product.hpp>

namespace linden {

/// The factors of one adapted projection of `In` inputs and `Out` outputs; the rank `R` is bound at run time.
template <long In, long Out, long R = rank>
struct LowRank {
  /// A and B, as expressions or as tensors (core/record.hpp).
  template <class Mode>
  struct Factors {
    typename Mode::template tensor<Shape<In, R>> A{"lora_A"};   ///< [in, R], "lora_A"
    typename Mode::template tensor<Shape<R, Out>> B{"lora_B"};  ///< [R, out], "lora_B"
  };
};

/// y = x W^T + ((x A) ⊙ P) B. The second product accumulates into the first's output.
template <long M, long In, long Out, long R, class Factors>
constexpr Expr<Shape<M, Out>> adapted_linear(Expr<Shape<M, In>> x, Expr<Shape<Out, In>> weight, const Factors& adapter,
                                             Expr<Shape<M, R>> P) {
  return x * transpose(weight) + hadamard(x * adapter.A, P) * adapter.B;
}

}  // namespace linden
