#pragma once
/// \file
/// Expr<Shape<...>>: a small handle to a node of the graph being traced. Its type is the shape, so operators are checked
/// by the compiler at the line where they are written; its value is a node number.

#include <cstdint>
#include <linden/core/record.hpp>
#include <linden/graph/graph.hpp>
#include <type_traits>

namespace linden {

/// A real matrix (or scalar, or row) of a function being traced.
template <class S>
struct Expr : Value {
  using shape = S;  ///< its Shape
  constexpr Expr() = default;
  /// A node of this shape.
  constexpr explicit Expr(Value v) : Value(v) {}
  /// Not bound to a graph yet; `name` is what errors and printed plans call it.
  constexpr Expr(const char* given) : name(given) {}
  const char* name = nullptr;  ///< before it is bound: what errors and printed plans call it
};

/// A matrix of int32 (token ids, targets, positions in a batch); no gradient flows into it.
template <class S>
struct Ids : Value {
  using shape = S;  ///< its Shape
  constexpr Ids() = default;
  /// A node of this shape.
  constexpr explicit Ids(Value v) : Value(v) {}
  /// Not bound to a graph yet; `name` is what errors and printed plans call it.
  constexpr Ids(const char* given) : name(given) {}
  const char* name = nullptr;  ///< before it is bound: what errors and printed plans call it
};

/// Record mode: members are expressions.
struct Symbolic {
  template <class S>
  using tensor = Expr<S>;  ///< a member of shape S
};

/// An argument that is never trained: `Frozen<Expr<...>>` or `Frozen<Weights<Symbolic>>` in a parameter list.
/// Asking for its gradient does not compile.
template <class Argument>
struct Frozen : Argument {
  using argument = Argument;  ///< what it is when it is not frozen
};

namespace detail {
template <class T>
inline constexpr bool is_frozen = false;
template <class T>
inline constexpr bool is_frozen<Frozen<T>> = true;
template <class T>
struct unfrozen {
  using type = T;
};
template <class T>
struct unfrozen<Frozen<T>> {
  using type = T;
};
template <class T>
inline constexpr bool is_ids = false;
template <class S>
inline constexpr bool is_ids<Ids<S>> = true;
}  // namespace detail

/// An argument's type without Frozen.
template <class T>
using unfrozen_t = typename detail::unfrozen<T>::type;

}  // namespace linden
