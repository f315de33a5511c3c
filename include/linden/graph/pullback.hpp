#pragma once
/// \file
/// A function split into its forward and its backward pass, with what is kept between them decided by a policy.
/// Forward computes y and keeps some nodes in a saved buffer; backward reads them, recomputes the rest, and returns gradients.
/// So a block is compiled once and run for every layer: one saved buffer per layer, one workspace for all.

#include <linden/graph/function.hpp>
#include <linden/graph/keep.hpp>
#include <linden/graph/plan.hpp>

namespace linden {

namespace detail {

template <class F, class Arguments, class Wrt>
struct ForwardBackward;
/// (arguments..., G) -> (y, gradients...), traced as one graph.
template <class F, class... A, int... K>
struct ForwardBackward<F, std::tuple<A...>, Indices<K...>> {
  using output = result_of<F>;
  using arguments = std::tuple<A..., output>;
  constexpr auto operator()(A... a, output upstream) const {
    const auto y = F{}(a...);
    return std::tuple(y, gradients(y, upstream, std::tuple<A...>(a...), Indices<K...>{}));
  }
};

/// The nodes to keep, each with its place in the saved buffer.
struct Kept {
  NodeSet nodes{};
  std::array<Location, Graph::capacity> locations{};
  Pools pools{};
};

/// Node numbers up to y's belong to the forward pass, and so do further results of its operations.
constexpr bool in_forward(const Program& p, int y, int node) {
  return node <= y || (is_result_node(p.graph[node]) && p.graph[node].inputs[0] <= y);
}

/// The forward nodes that the backward pass reads.
constexpr NodeSet read_by_backward(const Program& p, int y) {
  NodeSet live{}, read{};
  for (int k = 1; k < p.result_count; ++k) live[static_cast<std::size_t>(p.results[static_cast<std::size_t>(k)])] = true;
  for (int i = p.graph.size - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    const Node& n = p.graph[i];
    if (!live[at] || n.is_input() || is_constant_node(n)) continue;
    if (in_forward(p, y, i)) {
      read[at] = true;
      continue;
    }
    for (int k = 0; k < n.op->arity; ++k) live[static_cast<std::size_t>(n.inputs[static_cast<std::size_t>(k)])] = true;
  }
  return read;
}

constexpr Kept choose_kept(const Program& p, Keep policy) {
  const int y = p.results[0];
  Kept kept;
  if (policy == Keep::inputs) return kept;
  const NodeSet read = read_by_backward(p, y);
  NodeSet available{};
  for (int i = 0; i < p.graph.size; ++i) {
    if (!in_forward(p, y, i)) continue;
    const auto at = static_cast<std::size_t>(i);
    const Node& n = p.graph[i];
    bool rebuilt = n.is_input() || is_constant_node(n) || n.op->cheap;
    if (!n.is_input())
      for (int k = 0; k < n.op->arity; ++k)
        rebuilt = rebuilt && available[static_cast<std::size_t>(n.inputs[static_cast<std::size_t>(k)])];
    available[at] = rebuilt || read[at];
    kept.nodes[at] = read[at] && (policy == Keep::everything || !rebuilt);
    if (!kept.nodes[at]) continue;
    const Extent extent = p.graph.extent(i);
    Extent& pool = kept.pools.pool(extent);
    kept.locations[at] = {.place = Place::saved, .extent = extent, .offset = pool.columns};
    pool.columns += extent.columns;
  }
  return kept;
}

constexpr PlanRequest forward_request(const Kept& kept) {
  PlanRequest request{.first_result = 0, .result_count = 1};
  request.kept = kept.nodes;
  request.saved = kept.locations;
  return request;
}
constexpr PlanRequest backward_request(const Program& p, const Kept& kept) {
  PlanRequest request{.first_result = 1, .result_count = p.result_count - 1, .anchor = p.results[0] + 1};
  request.given = kept.nodes;
  request.saved = kept.locations;
  return request;
}

template <class Function, Keep Policy>
inline constexpr Kept kept_of = choose_kept(program<Function>, Policy);
template <class Function, Keep Policy>
inline constexpr Plan forward_plan_of = make_plan(program<Function>, forward_request(kept_of<Function, Policy>));
template <class Function, Keep Policy>
inline constexpr Plan backward_plan_of = make_plan(program<Function>,
                                                   backward_request(program<Function>, kept_of<Function, Policy>));

}  // namespace detail

/// The two plans of a function; the template arguments are what `pullback` was called with.
template <class F, Keep Policy, class Wrt>
struct Pullback {
  /// (arguments..., G) -> (y, gradients), traced as one graph
  using function = detail::ForwardBackward<F, arguments_of<F>, Wrt>;
  using arguments = arguments_of<F>;                                              ///< those of f
  using output = result_of<F>;                                                    ///< what f returns
  using gradients = std::tuple_element_t<1, result_of<function>>;                 ///< gradients of the arguments asked for
  static constexpr const Program& traced = program<function>;                     ///< forward and backward as one graph
  static constexpr const detail::Kept& kept = detail::kept_of<function, Policy>;  ///< what forward keeps, and where
  static constexpr const Plan& forward_plan = detail::forward_plan_of<function, Policy>;  ///< f, and what is kept of it
  /// Gradients, from the arguments, what was kept, and G.
  static constexpr const Plan& backward_plan = detail::backward_plan_of<function, Policy>;
};

/// f, forward and backward apart; gradients of arguments `Wrt...` (all trainable ones if none are given).
template <Keep Policy, int... Wrt, class F>
constexpr auto pullback(F) {
  return Pullback<F, Policy, decltype(detail::chosen_arguments<F, Wrt...>())>{};
}

}  // namespace linden
