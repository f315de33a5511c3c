#pragma once
/// \file
/// Records: plain structs whose members are tensors, or records again. They carry a block's weights as one argument:
/// the members are expressions while a function is traced and tensors while it runs. The member list is written once.
///
///     template <class Mode>
///     struct Linear {
///       typename Mode::template tensor<Shape<32, 64>> weight{"weight"};   // the name in files, errors, printed plans
///       typename Mode::template tensor<Shape<32>> bias{"bias"};
///     };
///
/// Errors  a record with more than 16 members does not compile.

#include <array>
#include <cstddef>
#include <linden/core/tensor.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace linden {

/// Record mode: members are views of `T`.
template <class T>
struct Bound {
  template <class S>
  using tensor = TensorView<T, S>;  ///< a member of shape S
};

namespace detail {

/// Stands for any member while counting them.
struct AnyMember {
  template <class T>
  constexpr operator T() const;
};

template <class R, std::size_t... I>
concept InitialisedBy = requires { R{(static_cast<void>(I), AnyMember{})...}; };

template <class R, std::size_t... I>
constexpr std::size_t count_members(std::index_sequence<I...>) {
  if constexpr (sizeof...(I) == 0) {
    static_assert(sizeof...(I) > 0, "linden: a record needs at least one member");
    return 0;
  } else if constexpr (InitialisedBy<R, I...>) {
    return sizeof...(I);
  } else {
    return count_members<R>(std::make_index_sequence<sizeof...(I) - 1>{});
  }
}

}  // namespace detail

/// References to the members of a record, in order.
template <class R>
constexpr auto members(R& r) {
  constexpr std::size_t count = detail::count_members<std::remove_const_t<R>>(std::make_index_sequence<16>{});
  // clang-format off
  if constexpr (count == 1) { auto& [a] = r; return std::tie(a); }
  else if constexpr (count == 2) { auto& [a, b] = r; return std::tie(a, b); }
  else if constexpr (count == 3) { auto& [a, b, c] = r; return std::tie(a, b, c); }
  else if constexpr (count == 4) { auto& [a, b, c, d] = r; return std::tie(a, b, c, d); }
  else if constexpr (count == 5) { auto& [a, b, c, d, e] = r; return std::tie(a, b, c, d, e); }
  else if constexpr (count == 6) { auto& [a, b, c, d, e, f] = r; return std::tie(a, b, c, d, e, f); }
  else if constexpr (count == 7) { auto& [a, b, c, d, e, f, g] = r; return std::tie(a, b, c, d, e, f, g); }
  else if constexpr (count == 8) { auto& [a, b, c, d, e, f, g, h] = r; return std::tie(a, b, c, d, e, f, g, h); }
  else if constexpr (count == 9) { auto& [a, b, c, d, e, f, g, h, i] = r; return std::tie(a, b, c, d, e, f, g, h, i); }
  else if constexpr (count == 10) { auto& [a, b, c, d, e, f, g, h, i, j] = r; return std::tie(a, b, c, d, e, f, g, h, i, j); }
  else if constexpr (count == 11) { auto& [a, b, c, d, e, f, g, h, i, j, k] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k); }
  else if constexpr (count == 12) { auto& [a, b, c, d, e, f, g, h, i, j, k, l] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l); }
  else if constexpr (count == 13) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m); }
  else if constexpr (count == 14) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n); }
  else if constexpr (count == 15) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o); }
  else { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = r; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p); }
  // clang-format on
}

/// A leaf is what records are made of in the end: a tensor, a view, an expression. They name their shape.
template <class T>
concept Leaf = requires { typename std::remove_cvref_t<T>::shape; };

/// True for std::tuple.
template <class T>
inline constexpr bool is_tuple = false;
template <class... T>
inline constexpr bool is_tuple<std::tuple<T...>> = true;

/// Calls `visit(leaf)` for every leaf of a tensor, record or tuple, depth first, in order of declaration.
template <class R, class Visit>
constexpr void for_each_leaf(R& record, Visit&& visit) {
  if constexpr (Leaf<R>) {
    visit(record);
  } else if constexpr (is_tuple<std::remove_const_t<R>>) {
    std::apply([&](auto&... member) { (for_each_leaf(member, visit), ...); }, record);
  } else {
    std::apply([&](auto&... member) { (for_each_leaf(member, visit), ...); }, members(record));
  }
}

/// Calls `visit(leaf of a, leaf of b)` for two records of the same structure.
template <class A, class B, class Visit>
constexpr void for_each_leaf_pair(A& a, B& b, Visit&& visit) {
  if constexpr (Leaf<A>) {
    visit(a, b);
  } else {
    const auto members_of = []<class R>(R& r) {
      if constexpr (is_tuple<std::remove_const_t<R>>) return std::apply([](auto&... m) { return std::tie(m...); }, r);
      else return members(r);
    };
    auto as = members_of(a);
    auto bs = members_of(b);
    static_assert(std::tuple_size_v<decltype(as)> == std::tuple_size_v<decltype(bs)>,
                  "linden: the two records must have the same members");
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (for_each_leaf_pair(std::get<I>(as), std::get<I>(bs), visit), ...);
    }(std::make_index_sequence<std::tuple_size_v<decltype(as)>>{});
  }
}

}  // namespace linden
