#pragma once
/// \file
/// The plan of a program: which nodes are computed, in which order, what is fused into one loop, and where every buffer
/// lives. Made by the compiler out of plain loops over the node numbers, in five passes:
///   live      what the results need (the rest is dead code)
///   absorb    a sum with a product becomes a product accumulating into the other summand's buffer
///   store     elementwise nodes used once, by an elementwise node of their shape, are inlined there and never stored
///   order     steps in order of the nodes; nodes recomputed for a backward pass come just before their first use
///   place     offsets by first fit over the steps during which a buffer is needed (graph/memory.hpp)
/// Sizes are kept as columns per token (per rank, per token and rank, ...), so bytes per token are a compile-time constant.

#include <array>
#include <linden/graph/memory.hpp>
#include <linden/graph/trace.hpp>

namespace linden {

/// Where a node's values are while the plan runs.
enum class Place : char { none, inlined, input, saved, workspace, result };

/// Where one node's values are.
struct Location {
  Place place = Place::none;  ///< where; none: nobody reads it
  int index = -1;             ///< result: which one
  Extent extent{};            ///< saved, workspace: pool and columns
  long offset = 0;            ///< saved, workspace: first column within the pool
};

/// One kernel call of the plan.
struct Step {
  /// What is started.
  enum class Kind : char {
    kernel,      ///< the node's own kernel
    loop,        ///< `count` elementwise nodes from `roots[first]` on, row by row
    accumulate,  ///< kernel of `summand` adding into node's buffer, which already holds the other summand
    copy         ///< node copied (or added) into result `result`
  };
  Kind kind = Kind::kernel;  ///< what is started
  int node = -1;             ///< whose values are made
  int first = 0, count = 0;  ///< loop: its nodes are roots[first] to roots[first + count - 1]
  int summand = -1;          ///< accumulate: the node whose kernel runs
  int result = -1;           ///< copy: number of the result
};

/// A set of nodes, by number.
using NodeSet = std::array<bool, Graph::capacity>;

/// What is asked of a plan: the results of the program from `first_result` on, given the nodes `given` (already computed,
/// found in the saved buffer), keeping the nodes `kept` (stored into the saved buffer at their places).
struct PlanRequest {
  int first_result = 0, result_count = 0;         ///< results [first_result, first_result + result_count) of the program
  int anchor = 0;                                 ///< nodes below are computed just before their first use instead of in order
  NodeSet given{}, kept{};                        ///< as above
  std::array<Location, Graph::capacity> saved{};  ///< places of given and kept nodes in the saved buffer
};

/// What is run, in which order, and where every value is.
struct Plan {
  std::array<Location, Graph::capacity> locations{};  ///< by node
  std::array<Step, Graph::capacity> steps{};          ///< the first `step_count` are in use
  std::array<int, Graph::capacity> roots{};           ///< elementwise nodes that are stored, grouped by loop
  int step_count = 0, root_count = 0;                 ///< in use of `steps` and of `roots`
  Pools workspace{};                                  ///< columns of scratch memory, for every pool
};

namespace detail {

/// Calls visit(node) for everything a stored elementwise node (or an inlined one) reads from memory.
template <class Visit>
constexpr void for_each_read(const Graph& graph, const std::array<Location, Graph::capacity>& locations, int node,
                             Visit&& visit) {
  const Node& n = graph[node];
  for (int k = 0; k < n.op->arity; ++k) {
    const int input = n.inputs[static_cast<std::size_t>(k)];
    if (locations[static_cast<std::size_t>(input)].place == Place::inlined)
      for_each_read(graph, locations, input, visit);
    else
      visit(input);
  }
}

constexpr bool is_constant_node(const Node& n) { return n.op == &descriptor<Constant>; }
constexpr bool is_result_node(const Node& n) { return n.op == &descriptor<Result>; }
constexpr bool is_loop_node(const Node& n) { return n.op->elementwise || is_constant_node(n); }

/// The passes; each reads what the ones before it found.
struct Planner {
  const Program& program;
  const PlanRequest& request;
  Plan plan{};
  NodeSet live{}, computed{}, stored{}, is_result{};
  std::array<int, Graph::capacity> uses{};      ///< reads by live nodes
  std::array<int, Graph::capacity> absorbed{};  ///< for a sum: the product accumulated into it, or -1
  std::array<int, Graph::capacity> slot{};      ///< the node whose buffer this one is written to
  std::array<int, Graph::capacity> born{}, dies{};

  constexpr Planner(const Program& p, const PlanRequest& r) : program(p), request(r) {}

  [[nodiscard]] constexpr const Graph& graph() const { return program.graph; }
  [[nodiscard]] static constexpr std::size_t at(int node) { return static_cast<std::size_t>(node); }
  [[nodiscard]] constexpr int result(int k) const { return program.results[at(request.first_result + k)]; }
  [[nodiscard]] constexpr bool same_shape(int a, int b) const {
    return graph()[a].rows == graph()[b].rows && graph()[a].columns == graph()[b].columns;
  }

  constexpr void find_live() {
    for (int k = 0; k < request.result_count; ++k) live[at(result(k))] = is_result[at(result(k))] = true;
    for (int i = graph().size - 1; i >= 0; --i) {
      live[at(i)] = live[at(i)] || request.kept[at(i)];
      absorbed[at(i)] = -1;
      slot[at(i)] = i;
      if (!live[at(i)] || graph()[i].is_input() || request.given[at(i)]) continue;
      computed[at(i)] = true;
      const Node& n = graph()[i];
      for (int k = 0; k < n.op->arity; ++k) {
        live[at(n.inputs[at(k)])] = true;
        ++uses[at(n.inputs[at(k)])];
      }
    }
  }

  [[nodiscard]] constexpr bool private_value(int i) const {  // nobody but one reader ever sees it
    return computed[at(i)] && uses[at(i)] == 1 && !is_result[at(i)] && !request.kept[at(i)];
  }

  constexpr void absorb_products() {
    for (int i = 0; i < graph().size; ++i) {
      const Node& n = graph()[i];
      if (!computed[at(i)] || n.op != &descriptor<Add>) continue;
      int product = n.inputs[1], base = n.inputs[0];  // inputs are in order of their numbers: prefer the later product
      if (!can_absorb(i, product, base)) std::swap(product, base);
      if (!can_absorb(i, product, base)) continue;
      absorbed[at(i)] = product;
      slot[at(base)] = i;
    }
  }
  [[nodiscard]] constexpr bool can_absorb(int sum, int product, int base) const {
    const Descriptor* op = graph()[product].op;
    if (op->elementwise || !op->accumulates || product == base) return false;
    return private_value(product) && private_value(base) &&
           same_shape(product, base) && same_shape(sum, base) && !is_result_node(graph()[base]) &&
           !is_constant_node(graph()[base]);
  }

  constexpr void choose_stored() {
    for (int i = 0; i < graph().size; ++i)
      if (computed[at(i)])
        stored[at(i)] = !is_loop_node(graph()[i]) || is_result[at(i)] || request.kept[at(i)] || absorbed[at(i)] >= 0 ||
                        slot[at(i)] != i || (uses[at(i)] > 1 && !is_constant_node(graph()[i]));
    for (int i = 0; i < graph().size; ++i) {
      if (!computed[at(i)]) continue;
      const Node& n = graph()[i];
      const bool loop = is_loop_node(n) && absorbed[at(i)] < 0;
      for (int k = 0; k < n.op->arity; ++k) {
        const int input = n.inputs[at(k)];
        const bool inlinable = loop && (is_constant_node(graph()[input]) || same_shape(input, i));
        if (computed[at(input)] && !inlinable) stored[at(input)] = true;
      }
      if (absorbed[at(i)] >= 0) stored[at(absorbed[at(i)])] = false;
    }
    for (int i = 0; i < graph().size; ++i) {
      Location& location = plan.locations[at(i)];
      if (!live[at(i)]) continue;
      if (graph()[i].is_input())
        location.place = Place::input;
      else if (request.given[at(i)])
        location = request.saved[at(i)];
      else if (!stored[at(i)])
        location.place = Place::inlined;
    }
  }

  constexpr void order_steps() {
    NodeSet done{};
    for (int i = request.anchor; i < graph().size; ++i) emit(i, done);
    for (int k = 0; k < request.result_count; ++k) emit(result(k), done);
    for (int i = 0; i < request.anchor; ++i)
      if (request.kept[at(i)]) emit(i, done);
    for (int k = 0; k < request.result_count; ++k)
      if (!place_directly(k)) add_step({.kind = Step::Kind::copy, .node = result(k), .result = k});
  }
  constexpr void emit(int i, NodeSet& done) {
    if (done[at(i)] || !computed[at(i)]) return;
    done[at(i)] = true;
    const Node& n = graph()[i];
    for (int k = 0; k < n.op->arity; ++k) emit(n.inputs[at(k)], done);
    if (!stored[at(i)] || is_result_node(n)) return;
    if (absorbed[at(i)] >= 0)
      add_step({.kind = Step::Kind::accumulate, .node = i, .summand = absorbed[at(i)]});
    else if (is_loop_node(n))
      add_loop(i);
    else
      add_step({.kind = Step::Kind::kernel, .node = i});
  }
  constexpr void add_step(Step step) { plan.steps[at(plan.step_count++)] = step; }
  /// Neighbouring loops of one shape become one loop, so that a row is still in cache for the next of them.
  constexpr void add_loop(int i) {
    plan.roots[at(plan.root_count++)] = i;
    if (plan.step_count > 0) {
      Step& last = plan.steps[at(plan.step_count - 1)];
      if (last.kind == Step::Kind::loop && same_shape(last.node, i)) {
        ++last.count;
        return;
      }
    }
    add_step({.kind = Step::Kind::loop, .node = i, .first = plan.root_count - 1, .count = 1});
  }
  /// A result is written where the caller wants it, if nothing reads it afterwards and its kernel can accumulate there.
  constexpr bool place_directly(int k) {
    const int node = result(k);
    Location& location = plan.locations[at(node)];
    if (!computed[at(node)] || !writers_accumulate(node)) return false;
    if (uses[at(node)] > 0 || location.place != Place::none) return false;
    if (request.kept[at(node)]) return false;
    for (int other = 0; other < request.result_count; ++other)
      if (other != k && result(other) == node) return false;
    location = {.place = Place::result, .index = k};
    return true;
  }

  /// Whether whatever writes first to node i's buffer can add to what is there: below an absorbing sum, its base.
  [[nodiscard]] constexpr bool writers_accumulate(int i) const {
    while (absorbed[at(i)] >= 0) i = graph()[i].inputs[graph()[i].inputs[0] == absorbed[at(i)] ? 1 : 0];
    return graph()[i].op->accumulates;
  }

  /// The node whose buffer node i is written to in the end.
  [[nodiscard]] constexpr int buffer(int i) const {
    while (slot[at(i)] != i) i = slot[at(i)];
    return i;
  }

  constexpr void find_lifetimes() {
    for (int i = 0; i < graph().size; ++i) born[at(i)] = dies[at(i)] = -1;
    const auto touch = [this](int node, int step) {
      const auto b = at(buffer(node));
      if (born[b] < 0) born[b] = step;
      dies[b] = step;
    };
    for (int s = 0; s < plan.step_count; ++s) {
      const Step& step = plan.steps[at(s)];
      for (int r = 0; r < step.count; ++r) {
        for_each_read(graph(), plan.locations, plan.roots[at(step.first + r)], [&](int read) { touch(read, s); });
        touch(plan.roots[at(step.first + r)], s);
      }
      if (step.kind == Step::Kind::loop) continue;
      touch(step.node, s);
      if (step.kind == Step::Kind::copy) continue;
      const Node& n = graph()[step.kind == Step::Kind::accumulate ? step.summand : step.node];
      for (int k = 0; k < n.op->arity; ++k) touch(n.inputs[at(k)], s);
    }
    for (int i = 0; i < graph().size; ++i) {  // further results are born with their operation
      if (!computed[at(i)] || !is_result_node(graph()[i])) continue;
      const int operation = graph()[i].inputs[0];
      born[at(i)] = born[at(operation)];
      if (dies[at(i)] < born[at(i)]) dies[at(i)] = born[at(i)];
    }
  }

  /// Result 0 of an operation of which only further results are used needs no buffer.
  [[nodiscard]] constexpr bool needs_buffer(int i) const {
    if (!stored[at(i)] || slot[at(i)] != i || plan.locations[at(i)].place != Place::none) return false;
    if (is_result[at(i)] || request.kept[at(i)] || is_loop_node(graph()[i])) return true;
    for (int j = i + 1; j < graph().size; ++j) {
      if (!computed[at(j)] || is_result_node(graph()[j])) continue;
      for (int k = 0; k < graph()[j].op->arity; ++k)
        if (graph()[j].inputs[at(k)] == i) return true;
    }
    return false;
  }

  constexpr void place_buffers() {
    for (int i = 0; i < graph().size; ++i)
      if (stored[at(i)] && request.kept[at(i)]) plan.locations[at(i)] = request.saved[at(i)];
    FirstFit memory;
    for (int s = 0; s < plan.step_count; ++s)
      for (int i = 0; i < graph().size; ++i) {
        if (born[at(i)] != s || !needs_buffer(i)) continue;
        Location& location = plan.locations[at(i)];
        location.extent = graph().extent(i);
        const int donor = in_place_of(i, s);
        location.offset = donor >= 0 ? plan.locations[at(donor)].offset : memory.place(location.extent, s, dies[at(i)]);
        if (donor >= 0) memory.extend(location.extent, location.offset, s, dies[at(i)]);
        location.place = Place::workspace;
      }
    plan.workspace = memory.pools();
    for (int i = 0; i < graph().size; ++i)
      if (stored[at(i)] && slot[at(i)] != i) plan.locations[at(i)] = plan.locations[at(buffer(i))];
  }

  /// A buffer of the same shape that the loop computing root i at step s reads for the last time, element by element, and
  /// that no later root of that loop reads; -1 where there is none.
  [[nodiscard]] constexpr int in_place_of(int i, int s) const {
    const Step& step = plan.steps[at(s)];
    if (step.kind != Step::Kind::loop) return -1;
    int donor = -1;
    bool passed = false;
    for (int r = 0; r < step.count; ++r) {
      const int root = plan.roots[at(step.first + r)];
      if (passed)
        for_each_read(graph(), plan.locations, root, [&](int read) {
          if (donor >= 0 && buffer(read) == donor) donor = -1;
        });
      if (root != i) continue;
      passed = true;
      for_each_read(graph(), plan.locations, root, [&](int read) {
        const int b = buffer(read);
        if (plan.locations[at(b)].place == Place::workspace && same_shape(read, i) && !graph().wide(b) && dies[at(b)] == s &&
            born[at(b)] < s && !taken_in_place(b, i, step))
          donor = b;
      });
    }
    return donor;
  }
  /// Whether an earlier root of the same loop already lives in buffer b.
  [[nodiscard]] constexpr bool taken_in_place(int b, int i, const Step& step) const {
    for (int r = 0; r < step.count; ++r) {
      const int root = plan.roots[at(step.first + r)];
      if (root == i) return false;
      const Location& other = plan.locations[at(buffer(root))];
      const Location& mine = plan.locations[at(b)];
      if (other.place == Place::workspace && other.extent.same_pool(mine.extent) && other.offset == mine.offset) return true;
    }
    return false;
  }

  constexpr Plan run() {
    find_live();
    absorb_products();
    choose_stored();
    order_steps();
    find_lifetimes();
    place_buffers();
    return plan;
  }
};

}  // namespace detail

/// The plan that computes what `request` asks of `program`.
constexpr Plan make_plan(const Program& program, const PlanRequest& request) {
  return detail::Planner(program, request).run();
}

/// The request for everything a program returns.
constexpr PlanRequest all_results(const Program& program) {
  PlanRequest request;
  request.result_count = program.result_count;
  return request;
}

}  // namespace linden
