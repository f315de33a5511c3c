#pragma once
/// \file
/// Tracing: a captureless lambda or function object is called once, inside the compiler, with expressions for its
/// arguments; what it builds is its program.

#include <array>
#include <linden/graph/sum.hpp>
#include <tuple>
#include <type_traits>

namespace linden {

namespace detail {
template <class Call>
struct signature;
template <class R, class F, class... A>
struct signature<R (F::*)(A...) const> {
  using arguments = std::tuple<std::remove_cvref_t<A>...>;
};
template <class F>
struct arguments_trait {
  using type = typename signature<decltype(&F::operator())>::arguments;
};
template <class F>
  requires requires { typename F::arguments; }
struct arguments_trait<F> {
  using type = typename F::arguments;
};
}  // namespace detail

/// The parameter types of a traced function, as a tuple.
template <class F>
using arguments_of = typename detail::arguments_trait<F>::type;

/// What a traced function returns: an Expr, a record or a tuple of them.
template <class F>
using result_of = decltype(std::apply(std::declval<const F&>(), std::declval<arguments_of<F>>()));

/// A traced function: its graph, which nodes came in, which go out.
struct Program {
  Graph graph;                                    ///< all nodes
  std::array<int, detail::max_leaves> results{};  ///< the first `result_count` are the nodes that go out
  int inputs = 0;                                 ///< nodes 0 .. inputs - 1 are the leaves of the arguments, in order
  int result_count = 0;                           ///< nodes that go out
};

namespace detail {

/// Turns the leaves of an argument into inputs of the graph.
template <class Argument>
constexpr void add_inputs(Graph& graph, Argument& argument) {
  for_each_leaf(static_cast<unfrozen_t<Argument>&>(argument), [&graph]<class L>(L& leaf) {
    leaf.graph = &graph;
    leaf.id = graph.input(L::shape::row_count, L::shape::column_count, is_ids<L>,
                          leaf.name);
  });
}

template <class... A>
constexpr void add_all_inputs(Graph& graph, std::tuple<A...>& arguments) {
  std::apply([&graph](A&... argument) { (add_inputs(graph, argument), ...); }, arguments);
}

template <class Results>
constexpr void add_results(Program& program, Results results) {
  for_each_leaf(results, [&program](auto& leaf) {
    if (program.result_count == max_leaves) throw "linden: a function returns at most 64 tensors";
    program.results[static_cast<std::size_t>(program.result_count++)] = leaf.id;
  });
}

template <class F>
constexpr Program trace() {
  Program program;
  arguments_of<F> arguments;
  add_all_inputs(program.graph, arguments);
  program.inputs = program.graph.size;
  add_results(program, std::apply(F{}, arguments));
  return program;
}

}  // namespace detail

/// The program of F, computed once by the compiler.
template <class F>
inline constexpr Program program = detail::trace<F>();

/// True when two functions of the same arguments build the same expressions: the compiler's proof that one is the other.
///
///     static_assert(same(vjp<2>(layer), [](X x, W w, A a, P p, B b, Y G) { return transpose(x) * (G * transpose(b) * diag(p)); }));
template <class F, class G>
constexpr bool same(F, G) {
  static_assert(std::is_same_v<arguments_of<F>, arguments_of<G>>, "linden::same(f, g): f and g must take the same arguments");
  Program both;
  arguments_of<F> arguments;
  detail::add_all_inputs(both.graph, arguments);
  detail::add_results(both, std::apply(F{}, arguments));
  const int first = both.result_count;
  detail::add_results(both, std::apply(G{}, arguments));
  if (both.result_count != 2 * first) return false;
  for (int k = 0; k < first; ++k)
    if (both.results[static_cast<std::size_t>(k)] != both.results[static_cast<std::size_t>(first + k)]) return false;
  return true;
}

}  // namespace linden
