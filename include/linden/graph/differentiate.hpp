#pragma once
/// \file
/// Reverse-mode differentiation: one backward sweep over the node numbers. Gradients are new nodes of the same graph, so
/// what forward and backward have in common exists once. Only what the wanted inputs need is built.
/// Source  Griewank & Walther 2008, "Evaluating Derivatives", chapter 3.

#include <array>
#include <linden/graph/expr.hpp>
#include <tuple>

namespace linden {

/// What an operation's `vjp` works with: its inputs, the gradients of its results, and where to put its inputs' gradients.
struct Vjp {
  Graph* graph;                                                           ///< where new nodes go
  int self;                                                               ///< the operation's node
  std::array<int, max_results> upstream_ids{-1, -1, -1, -1};              ///< gradients of its results; -1: none flows in
  std::array<bool, max_inputs> wanted{};                                  ///< by input: its gradient is asked for
  std::array<int, max_inputs> gradients{-1, -1, -1, -1, -1, -1, -1, -1};  ///< what `gradient` has set; -1: nothing

  [[nodiscard]] constexpr const Node& node() const { return (*graph)[self]; }  ///< the operation's node
  [[nodiscard]] constexpr Value output() const { return {graph, self}; }       ///< its result 0
  /// Its input k.
  [[nodiscard]] constexpr Value input(int k) const { return {graph, node().inputs[static_cast<std::size_t>(k)]}; }
  /// Its constant k (epsilon, heads, ...).
  [[nodiscard]] constexpr double attribute(int k) const { return node().attributes[static_cast<std::size_t>(k)]; }
  /// dL/d(result k); has_upstream(k) says whether anything flows into that result.
  [[nodiscard]] constexpr Value upstream(int k = 0) const { return {graph, upstream_ids[static_cast<std::size_t>(k)]}; }
  /// Whether a gradient flows into result k.
  [[nodiscard]] constexpr bool has_upstream(int k) const { return upstream_ids[static_cast<std::size_t>(k)] >= 0; }
  /// False when nobody asks for the gradient of input k: then do not build it.
  [[nodiscard]] constexpr bool wants(int k) const { return wanted[static_cast<std::size_t>(k)]; }
  /// dL/d(input k) = v. Repeated rows or columns of the input are summed for you.
  constexpr void gradient(int k, Value v) { gradients[static_cast<std::size_t>(k)] = v.id; }
};

namespace symbolic {
// Defined with their operations (ops/elementwise.hpp, ops/reduce.hpp); the sweep needs only these two.
constexpr Value add(Value a, Value b);
/// `gradient` summed over the axes along which a `row_count` x `column_count` input was repeated.
constexpr Value sum_to_shape(Value gradient, long row_count, long column_count);
}  // namespace symbolic

namespace detail {

inline constexpr int max_leaves = 64;

/// Gradients of `y` contracted with `upstream` for the `count` nodes `wrt`, into `out` (-1: no dependence).
constexpr void differentiate(Graph& graph, int y, int upstream, const int* wrt, int count, int* out) {
  const int forward = y + 1;
  std::array<int, Graph::capacity> adjoint{};
  std::array<bool, Graph::capacity> needed{};
  for (int i = 0; i < forward; ++i) adjoint[static_cast<std::size_t>(i)] = -1;
  for (int k = 0; k < count; ++k) needed[static_cast<std::size_t>(wrt[k])] = true;
  for (int i = 0; i < forward; ++i) {
    const Node& n = graph[i];
    if (n.is_input()) continue;
    for (int k = 0; k < n.op->arity; ++k)
      if (needed[static_cast<std::size_t>(n.inputs[static_cast<std::size_t>(k)])]) needed[static_cast<std::size_t>(i)] = true;
  }
  // Gradients of further results wait at their operation until the sweep reaches it.
  std::array<std::array<int, max_results>, Graph::capacity> waiting{};
  const auto contribute = [&](int id, int gradient) {
    int& sum = adjoint[static_cast<std::size_t>(id)];
    sum = sum < 0 ? gradient : symbolic::add(Value{&graph, sum}, Value{&graph, gradient}).id;
  };
  adjoint[static_cast<std::size_t>(y)] = upstream;
  for (int i = y; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    const Node n = graph[i];
    if (n.is_input() || !needed[at]) continue;
    if (n.op == &descriptor<Result>) {
      if (adjoint[at] >= 0)
        waiting[static_cast<std::size_t>(n.inputs[0])][static_cast<std::size_t>(n.attributes[0])] = adjoint[at] + 1;
      continue;
    }
    Vjp v{.graph = &graph, .self = i};
    bool any = adjoint[at] >= 0;
    v.upstream_ids[0] = adjoint[at];
    for (std::size_t k = 1; k < max_results; ++k) {
      v.upstream_ids[k] = waiting[at][k] - 1;
      any = any || waiting[at][k] > 0;
    }
    if (!any || n.op->flat) continue;
    if (!n.op->differentiable) throw "linden: gradient through an operation that has none (no vjp, and not flat)";
    for (int k = 0; k < n.op->arity; ++k) {
      const int input = n.inputs[static_cast<std::size_t>(k)];
      v.wanted[static_cast<std::size_t>(k)] = needed[static_cast<std::size_t>(input)] && !graph[input].ids;
    }
    n.op->vjp(v);
    for (int k = 0; k < n.op->arity; ++k) {
      const int gradient = v.gradients[static_cast<std::size_t>(k)];
      const int input = n.inputs[static_cast<std::size_t>(k)];
      if (gradient >= 0 && v.wanted[static_cast<std::size_t>(k)])
        contribute(input,
                   symbolic::sum_to_shape(Value{&graph, gradient}, graph[input].rows, graph[input].columns).id);
    }
  }
  for (int k = 0; k < count; ++k) out[k] = adjoint[static_cast<std::size_t>(wrt[k])];
}

/// The gradient where there is one, zeros of the input's shape where y does not depend on it.
constexpr Value gradient_or_zero(Graph& graph, int gradient, int input);

}  // namespace detail
}  // namespace linden
