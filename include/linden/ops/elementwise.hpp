#pragma once
/// \file
/// Elementwise arithmetic and functions. Chains of them become one loop; nothing between is stored.
/// Shapes  two arguments have equal shapes, or one of them is a scalar, a row Shape<N> (repeated for every row), or a column
///         Shape<M, 1> (repeated along every row).
/// Errors  other shapes do not compile: both extents are printed.

#include <cmath>
#include <linden/core/math.hpp>
#include <linden/graph/sum.hpp>

namespace linden {

/// a - b.
struct Subtract {
  static constexpr const char* name = "subtract";
  static constexpr int arity = 2;
  template <class T>
  static constexpr T element(T a, T b) {
    return a - b;
  }
  static constexpr void vjp(Vjp& v);
};

/// The product of elements, a ⊙ b.
struct Hadamard {
  static constexpr const char* name = "hadamard";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  template <class T>
  static constexpr T element(T a, T b) {
    return a * b;
  }
  static constexpr void vjp(Vjp& v);
};

/// a / b.
struct Divide {
  static constexpr const char* name = "divide";
  static constexpr int arity = 2;
  template <class T>
  static constexpr T element(T a, T b) {
    return a / b;
  }
  static constexpr void vjp(Vjp& v);
};

/// e^x.
struct Exp {
  static constexpr const char* name = "exp";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return math::exp(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// The natural logarithm.
struct Log {
  static constexpr const char* name = "log";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return std::log(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// The square root.
struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return std::sqrt(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// The hyperbolic tangent.
struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return math::tanh(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// 1 / (1 + e^-x).
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return math::sigmoid(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// max(x, 0); the gradient at 0 is 0.
struct Relu {
  static constexpr const char* name = "relu";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return x > T(0) ? x : T(0);
  }
  static constexpr void vjp(Vjp& v);
};

/// 1 where a == b, else 0; no gradient.
struct Equal {
  static constexpr const char* name = "equal";
  static constexpr int arity = 2;
  static constexpr bool flat = true;
  static constexpr bool commutative = true;
  template <class T>
  static constexpr T element(T a, T b) {
    return a == b ? T(1) : T(0);
  }
};

/// 1 where x > 0, else 0; no gradient.
struct Positive {
  static constexpr const char* name = "positive";
  static constexpr int arity = 1;
  static constexpr bool flat = true;
  template <class T>
  static constexpr T element(T x) {
    return x > T(0) ? T(1) : T(0);
  }
};

/// silu(x) = x sigmoid(x), the gate of Llama's feed-forward network.
struct Silu {
  static constexpr const char* name = "silu";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    return x * math::sigmoid(x);
  }
  static constexpr void vjp(Vjp& v);
};

/// d silu(x) / dx = s (1 + x (1 - s)), s = sigmoid(x).
struct SiluDerivative {
  static constexpr const char* name = "silu_derivative";
  static constexpr int arity = 1;
  template <class T>
  static constexpr T element(T x) {
    const T s = math::sigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  }
  static constexpr void vjp(Vjp& v);
};

namespace symbolic {

/// a ⊙ b; a factor of one vanishes.
constexpr Value hadamard(Value a, Value b) {
  if (is_constant(a, 1.0)) return b;
  if (is_constant(b, 1.0)) return a;
  return broadcast_apply<Hadamard>(a, b);
}
constexpr Value subtract(Value a, Value b) { return broadcast_apply<Subtract>(a, b); }      ///< a - b
constexpr Value divide(Value a, Value b) { return broadcast_apply<Divide>(a, b); }          ///< a / b
constexpr Value scale(double factor, Value a) { return hadamard(constant(a, factor), a); }  ///< factor * a
/// Op of every element.
template <class Op>
constexpr Value map(Value a) {
  return apply<Op>(node(a).rows, node(a).columns, {}, a);
}

}  // namespace symbolic

constexpr void Subtract::vjp(Vjp& v) {
  v.gradient(0, v.upstream());
  if (v.wants(1)) v.gradient(1, symbolic::scale(-1.0, v.upstream()));
}
constexpr void Hadamard::vjp(Vjp& v) {
  if (v.wants(0)) v.gradient(0, symbolic::hadamard(v.upstream(), v.input(1)));
  if (v.wants(1)) v.gradient(1, symbolic::hadamard(v.upstream(), v.input(0)));
}
constexpr void Divide::vjp(Vjp& v) {
  const Value over_b = symbolic::divide(v.upstream(), v.input(1));
  v.gradient(0, over_b);
  if (v.wants(1)) v.gradient(1, symbolic::scale(-1.0, symbolic::hadamard(over_b, v.output())));
}
constexpr void Exp::vjp(Vjp& v) { v.gradient(0, symbolic::hadamard(v.upstream(), v.output())); }
constexpr void Log::vjp(Vjp& v) { v.gradient(0, symbolic::divide(v.upstream(), v.input(0))); }
constexpr void Sqrt::vjp(Vjp& v) {
  v.gradient(0, symbolic::scale(0.5, symbolic::divide(v.upstream(), v.output())));
}
constexpr void Tanh::vjp(Vjp& v) {
  const Value square = symbolic::hadamard(v.output(), v.output());
  v.gradient(0, symbolic::subtract(v.upstream(), symbolic::hadamard(v.upstream(), square)));
}
constexpr void Sigmoid::vjp(Vjp& v) {
  const Value complement = symbolic::subtract(symbolic::constant(v.output(), 1.0), v.output());
  v.gradient(0, symbolic::hadamard(v.upstream(), symbolic::hadamard(v.output(), complement)));
}
constexpr void Relu::vjp(Vjp& v) {
  v.gradient(0, symbolic::hadamard(v.upstream(), symbolic::map<Positive>(v.input(0))));
}
constexpr void Silu::vjp(Vjp& v) {
  v.gradient(0, symbolic::hadamard(v.upstream(), symbolic::map<SiluDerivative>(v.input(0))));
}
constexpr void SiluDerivative::vjp(Vjp& v) {
  // s'(x) (2 + x (1 - 2 s)) with s' = s (1 - s).
  const Value x = v.input(0);
  const Value s = symbolic::map<Sigmoid>(x);
  const Value one = symbolic::constant(x, 1.0);
  const Value slope = symbolic::hadamard(s, symbolic::subtract(one, s));
  const Value bend = symbolic::hadamard(x, symbolic::subtract(one, symbolic::scale(2.0, s)));
  v.gradient(0, symbolic::hadamard(v.upstream(),
                                   symbolic::hadamard(slope, symbolic::add(symbolic::constant(x, 2.0), bend))));
}

namespace detail {

/// Shape of an elementwise result; refuses shapes that do not fit, printing both extents.
template <class A, class B>
constexpr auto broadcast_shape() {
  if constexpr (A::column_count != 1 && B::column_count != 1)
    static_assert(A::column_count == B::column_count,
                  "linden: elementwise operands must have the same columns, or one of them a single one");
  if constexpr (A::row_count != 1 && B::row_count != 1)
    static_assert(A::row_count == B::row_count,
                  "linden: elementwise operands must have the same rows, or one of them a single one");
  constexpr long row_count = A::row_count == 1 ? B::row_count : A::row_count;
  constexpr long column_count = A::column_count == 1 ? B::column_count : A::column_count;
  constexpr int axes = A::axes > B::axes ? A::axes : B::axes;
  if constexpr (axes == 0)
    return Shape<>{};
  else if constexpr (axes == 1)
    return Shape<column_count>{};
  else
    return Shape<row_count, column_count>{};
}
template <class A, class B>
using broadcast_t = decltype(broadcast_shape<A, B>());

}  // namespace detail

/// a + b; what is one row, one column or a scalar is repeated.
template <class A, class B>
constexpr Expr<detail::broadcast_t<A, B>> operator+(Expr<A> a, Expr<B> b) {
  return Expr<detail::broadcast_t<A, B>>(symbolic::add(a, b));
}
/// a - b; what is one row, one column or a scalar is repeated.
template <class A, class B>
constexpr Expr<detail::broadcast_t<A, B>> operator-(Expr<A> a, Expr<B> b) {
  return Expr<detail::broadcast_t<A, B>>(symbolic::subtract(a, b));
}
/// a ⊙ b, the product of elements (operator* is the matrix product).
template <class A, class B>
constexpr Expr<detail::broadcast_t<A, B>> hadamard(Expr<A> a, Expr<B> b) {
  return Expr<detail::broadcast_t<A, B>>(symbolic::hadamard(a, b));
}
/// a / b by elements; what is one row, one column or a scalar is repeated.
template <class A, class B>
constexpr Expr<detail::broadcast_t<A, B>> operator/(Expr<A> a, Expr<B> b) {
  return Expr<detail::broadcast_t<A, B>>(symbolic::divide(a, b));
}

/// Every element times a number.
template <class S>
constexpr Expr<S> operator*(double factor, Expr<S> a) {
  return Expr<S>(symbolic::scale(factor, a));
}
/// Every element plus a number.
template <class S>
constexpr Expr<S> operator+(Expr<S> a, double number) {
  return Expr<S>(symbolic::add(a, symbolic::constant(a, number)));
}
/// Every element negated.
template <class S>
constexpr Expr<S> operator-(Expr<S> a) {
  return Expr<S>(symbolic::scale(-1.0, a));
}
/// e^x of every element.
template <class S>
constexpr Expr<S> exp(Expr<S> a) {
  return Expr<S>(symbolic::map<Exp>(a));
}
/// The natural logarithm of every element.
template <class S>
constexpr Expr<S> log(Expr<S> a) {
  return Expr<S>(symbolic::map<Log>(a));
}
/// The square root of every element.
template <class S>
constexpr Expr<S> sqrt(Expr<S> a) {
  return Expr<S>(symbolic::map<Sqrt>(a));
}
/// The hyperbolic tangent of every element.
template <class S>
constexpr Expr<S> tanh(Expr<S> a) {
  return Expr<S>(symbolic::map<Tanh>(a));
}
/// 1 / (1 + e^-x) of every element.
template <class S>
constexpr Expr<S> sigmoid(Expr<S> a) {
  return Expr<S>(symbolic::map<Sigmoid>(a));
}
/// max(x, 0) of every element.
template <class S>
constexpr Expr<S> relu(Expr<S> a) {
  return Expr<S>(symbolic::map<Relu>(a));
}
/// x sigmoid(x) of every element.
template <class S>
constexpr Expr<S> silu(Expr<S> a) {
  return Expr<S>(symbolic::map<Silu>(a));
}

}  // namespace linden
