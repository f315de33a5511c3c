#pragma once
/// \file
/// Functions of functions, with the names JAX users know. Each returns a function object that can be traced again (so
/// they compose) or called with tensors (which runs its plan on the CPU).
///   compile(f)            f itself, callable with tensors
///   vjp<k...>(f)          (arguments..., G) -> gradients of sum(f(arguments) * G) for arguments k...
///   grad<k...>(f)         (arguments...) -> gradients of the scalar f
///   value_and_grad<k...>  (arguments...) -> (f, gradients)
/// Without k..., the gradients of all arguments that are neither Frozen nor Ids. One k gives the gradient itself, several a tuple.
/// Errors  asking for the gradient of a Frozen argument does not compile.

#include <linden/graph/trace.hpp>

namespace linden {

/// Runs the plan of F on tensors; defined in backend/executor.hpp.
template <class F, class... Tensors>
auto evaluate(const Tensors&... tensors);

/// True for arguments of a call that runs (tensors, views, records of them), false for arguments of a call that traces.
template <class T>
concept RunTimeArgument = !std::is_base_of_v<Value, std::remove_cvref_t<T>>;

namespace detail {

template <class Argument>
inline constexpr bool differentiable = !is_frozen<Argument> && !is_ids<Argument>;

template <int... K>
struct Indices {};

template <class Arguments, int K, int... Found>
constexpr auto trainable_arguments(Indices<Found...> found) {
  if constexpr (K == static_cast<int>(std::tuple_size_v<Arguments>))
    return found;
  else if constexpr (differentiable<std::tuple_element_t<static_cast<std::size_t>(K), Arguments>>)
    return trainable_arguments<Arguments, K + 1>(Indices<Found..., K>{});
  else
    return trainable_arguments<Arguments, K + 1>(found);
}

template <class F, int... Wrt>
constexpr auto chosen_arguments() {
  using Arguments = arguments_of<F>;
  static_assert(((Wrt >= 0 && Wrt < static_cast<int>(std::tuple_size_v<Arguments>)) && ...),
                "linden: gradient of an argument the function does not have (arguments count from 0)");
  static_assert((!is_frozen<std::tuple_element_t<static_cast<std::size_t>(Wrt), Arguments>> && ...),
                "linden: gradient of an argument that is declared Frozen; remove Frozen from its type, or do not ask for it");
  static_assert((!is_ids<std::tuple_element_t<static_cast<std::size_t>(Wrt), Arguments>> && ...),
                "linden: gradient of an argument of ids; integers have none");
  if constexpr (sizeof...(Wrt) > 0)
    return Indices<Wrt...>{};
  else
    return trainable_arguments<Arguments, 0>(Indices<>{});
}

/// Gradients of <y, upstream> for arguments K...: the argument's own type for one, a tuple for several.
template <class Y, class Arguments, int... K>
constexpr auto gradients(Y y, Y upstream, const Arguments& arguments, Indices<K...>) {
  std::tuple<unfrozen_t<std::tuple_element_t<static_cast<std::size_t>(K), Arguments>>...> wanted{
      std::get<static_cast<std::size_t>(K)>(arguments)...};
  std::array<int, max_leaves> ids{}, out{};
  int count = 0;
  for_each_leaf(wanted, [&](auto& leaf) { ids[static_cast<std::size_t>(count++)] = leaf.id; });
  differentiate(*y.graph, y.id, upstream.id, ids.data(), count, out.data());
  int next = 0;
  for_each_leaf(wanted, [&](auto& leaf) {
    const auto k = static_cast<std::size_t>(next++);
    leaf.id = gradient_or_zero(*y.graph, out[k], ids[k]).id;
  });
  if constexpr (sizeof...(K) == 1)
    return std::get<0>(wanted);
  else
    return wanted;
}

}  // namespace detail

template <class F, class Arguments, class Wrt>
struct VjpFunction;
/// What `vjp` returns.
template <class F, class... A, int... K>
struct VjpFunction<F, std::tuple<A...>, detail::Indices<K...>> {
  using output = result_of<F>;                 ///< what f returns
  using arguments = std::tuple<A..., output>;  ///< those of f, then dL/d(f)
  /// Traces.
  constexpr auto operator()(A... a, output upstream) const {
    return detail::gradients(F{}(a...), upstream, std::tuple<A...>(a...), detail::Indices<K...>{});
  }
  /// Runs on tensors.
  template <RunTimeArgument... Tensors>
  auto operator()(const Tensors&... tensors) const {
    return evaluate<VjpFunction>(tensors...);
  }
};

template <class F, class Arguments, class Wrt, bool WithValue>
struct GradFunction;
/// What `grad` and `value_and_grad` return.
template <class F, class... A, int... K, bool WithValue>
struct GradFunction<F, std::tuple<A...>, detail::Indices<K...>, WithValue> {
  using arguments = std::tuple<A...>;  ///< those of f
  static_assert(std::is_same_v<typename result_of<F>::shape, Shape<>>,
                "linden::grad(f): f must return a scalar, Expr<Shape<>>; use vjp for other shapes");
  /// Traces.
  constexpr auto operator()(A... a) const {
    const auto y = F{}(a...);
    const result_of<F> one(symbolic::constant(y, 1.0));
    const auto gradients = detail::gradients(y, one, std::tuple<A...>(a...), detail::Indices<K...>{});
    if constexpr (WithValue)
      return std::tuple(y, gradients);
    else
      return gradients;
  }
  /// Runs on tensors.
  template <RunTimeArgument... Tensors>
  auto operator()(const Tensors&... tensors) const {
    return evaluate<GradFunction>(tensors...);
  }
};

template <class F, class Arguments>
struct CompiledFunction;
/// What `compile` returns.
template <class F, class... A>
struct CompiledFunction<F, std::tuple<A...>> {
  using arguments = std::tuple<A...>;  ///< those of f
  /// Traces.
  constexpr auto operator()(A... a) const { return F{}(a...); }
  /// Runs on tensors.
  template <RunTimeArgument... Tensors>
  auto operator()(const Tensors&... tensors) const {
    return evaluate<CompiledFunction>(tensors...);
  }
};

/// f, callable with tensors.
template <class F>
constexpr auto compile(F) {
  return CompiledFunction<F, arguments_of<F>>{};
}

/// (arguments..., G) -> gradients of sum(f(arguments) * G) with respect to arguments `Wrt...`.
template <int... Wrt, class F>
constexpr auto vjp(F) {
  return VjpFunction<F, arguments_of<F>, decltype(detail::chosen_arguments<F, Wrt...>())>{};
}

/// (arguments...) -> gradients of the scalar f with respect to arguments `Wrt...`.
template <int... Wrt, class F>
constexpr auto grad(F) {
  return GradFunction<F, arguments_of<F>, decltype(detail::chosen_arguments<F, Wrt...>()), false>{};
}

/// (arguments...) -> (f, its gradients with respect to arguments `Wrt...`).
template <int... Wrt, class F>
constexpr auto value_and_grad(F) {
  return GradFunction<F, arguments_of<F>, decltype(detail::chosen_arguments<F, Wrt...>()), true>{};
}

}  // namespace linden
