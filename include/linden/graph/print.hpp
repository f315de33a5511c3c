#pragma once
/// \file
/// Plans as text and as Graphviz: what runs in which order, what is fused, where every value lives, how much memory it
/// takes.
///
///     inputs
///       x            [tokens, 64]
///       ...
///     steps
///        1  kernel      %5 = matmul(x, W)                [tokens, 32]  result 0
///        2  kernel      %6 = matmul(x, A)                [tokens, 8]  workspace per token, columns 0-7
///        3  loop        %7 = hadamard(p, %6)             [tokens, 8]  workspace per token, columns 0-7
///        4  accumulate  %9 = %5 + matmul(%7, B)          [tokens, 32]  result 0
///     saved      none
///     workspace  32 bytes per token (8 columns)
///
/// %n is node n of the program; a transposed factor is written W'. A loop line shows everything inlined into its node.
/// Units   columns as in graph/memory.hpp; bytes at `PrintOptions::element_size` bytes an element.
/// Errors  UsageError when more names are given than there are inputs.

#include <algorithm>
#include <array>
#include <linden/graph/plan.hpp>
#include <linden/graph/pullback.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace linden {

/// What a printed plan calls things.
struct PrintOptions {
  std::vector<std::string> names =
      {};                ///< of the inputs, in order; those left out go by their own name or as in0, in1, ...
  int element_size = 4;  ///< bytes: 4 for float, 8 for double
};

/// Function objects that can be traced.
template <class F>
concept Traceable = requires {
  typename F::arguments;
}
|| requires { &F::operator(); };

namespace detail {

/// The pools of the saved buffer, from the places a plan gives its saved nodes.
[[nodiscard]] inline Pools saved_pools(const Plan& plan) {
  Pools pools;
  for (const Location& location : plan.locations) {
    if (location.place != Place::saved) continue;
    Extent& pool = pools.pool(location.extent);
    pool.columns = std::max(pool.columns, location.offset + location.extent.columns);
  }
  return pools;
}

/// One of what an extent counts: "token", "rank".
[[nodiscard]] inline std::string one_of(long extent) {
  std::string name = extent_name(extent);
  if (name.ends_with('s')) name.pop_back();
  return name;
}

/// "per token x rank", "per token", or "fixed" for what does not grow.
[[nodiscard]] inline std::string pool_name(const Extent& extent) {
  if (extent.first == 0) return "fixed";
  return "per " + one_of(extent.first) + (extent.second == 0 ? "" : " x " + one_of(extent.second));
}

[[nodiscard]] inline std::string shape_text(const Node& n) {
  return n.rows == 1 && n.columns == 1 ? "[]" : text("[", extent_name(n.rows), ", ", extent_name(n.columns), "]");
}

/// Names and formulas of a plan's nodes.
class PlanText {
 public:
  PlanText(const Program& program, const Plan& plan, const PrintOptions& options) : program_(program), plan_(plan) {
    if (options.names.size() > static_cast<std::size_t>(program.inputs))
      throw UsageError(text("linden::print: ", options.names.size(), " names for ", program.inputs, " inputs"));
    for (int i = 0; i < program.inputs; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const char* own = program.graph[i].name;
      inputs_.push_back(at < options.names.size() ? options.names[at] : own != nullptr ? own : text("in", i));
    }
  }

  [[nodiscard]] const Node& node(int i) const { return program_.graph[i]; }
  [[nodiscard]] const Location& location(int i) const { return plan_.locations[static_cast<std::size_t>(i)]; }

  /// "x" for inputs, "0.5" for constants, "%7" for the rest.
  [[nodiscard]] std::string name(int i) const {
    if (node(i).is_input()) return inputs_[static_cast<std::size_t>(i)];
    return is_constant_node(node(i)) ? text(node(i).attributes[0]) : text("%", i);
  }
  /// A node as it is read: its name, or the formula of what is inlined.
  [[nodiscard]] std::string read(int i) const {
    return location(i).place == Place::inlined && !is_constant_node(node(i)) ? formula(i) : name(i);
  }
  /// "matmul(%7, B')": the operation of a node on what it reads.
  [[nodiscard]] std::string formula(int i) const {
    const Node& n = node(i);
    if (is_constant_node(n)) return name(i);
    // Transposition is the one attribute that everybody writes as a mark; graph/ itself knows no operation.
    const bool product = std::string_view(n.op->name) == "matmul";
    std::string list;
    for (int k = 0; k < n.op->arity; ++k) {
      const auto at = static_cast<std::size_t>(k);
      list += (k == 0 ? "" : ", ") + read(n.inputs[at]) + (product && n.attributes[at] != 0 ? "'" : "");
    }
    return text(n.op->name, product ? "" : attributes(n), "(", list, ")");
  }
  /// "workspace per token, columns 0-63", "result 1", "saved ...".
  [[nodiscard]] std::string place(int i) const {
    const Location& at = location(i);
    switch (at.place) {
      case Place::input:
        return "input";
      case Place::inlined:
        return "inlined";
      case Place::result:
        return text("result ", at.index);
      case Place::none:
        return "nowhere";
      default:
        break;
    }
    const long last = at.offset + at.extent.columns - 1;
    return text(at.place == Place::saved ? "saved " : "workspace ", pool_name(at.extent),
                at.offset == last ? text(", column ", last) : text(", columns ", at.offset, "-", last));
  }

  /// Nodes written by a step: loop roots; a kernel's node and its further results that are used.
  [[nodiscard]] std::vector<int> written(const Step& step) const {
    std::vector<int> nodes;
    for (int r = 0; r < step.count; ++r) nodes.push_back(plan_.roots[static_cast<std::size_t>(step.first + r)]);
    if (step.kind == Step::Kind::loop) return nodes;
    nodes.push_back(step.node);
    if (step.kind != Step::Kind::kernel) return nodes;
    for (int i = step.node + 1; i < program_.graph.size; ++i)
      if (is_result_node(node(i)) && node(i).inputs[0] == step.node && location(i).place != Place::none)
        nodes.push_back(i);
    return nodes;
  }
  /// The right-hand side of one written node.
  [[nodiscard]] std::string value(const Step& step, int written_node) const {
    switch (step.kind) {
      case Step::Kind::copy:
        return name(step.node);
      case Step::Kind::accumulate:
        return read(other_summand(step)) + " + " + formula(step.summand);
      default:
        break;
    }
    if (is_result_node(node(written_node))) return text("its result ", node(written_node).attributes[0]);
    return formula(written_node);
  }
  /// The summand that is in the buffer before an accumulate step.
  [[nodiscard]] int other_summand(const Step& step) const {
    const Node& sum = node(step.node);
    return sum.inputs[0] == step.summand ? sum.inputs[1] : sum.inputs[0];
  }

 private:
  static std::string attributes(const Node& n) {
    std::size_t count = max_attributes;
    while (count > 0 && n.attributes[count - 1] == 0) --count;
    std::string list;
    for (std::size_t k = 0; k < count; ++k) list += text(k == 0 ? "" : ", ", n.attributes[k]);
    return count == 0 ? "" : "{" + list + "}";
  }

  const Program& program_;
  const Plan& plan_;
  std::vector<std::string> inputs_;
};

[[nodiscard]] constexpr std::string_view kind_name(Step::Kind kind) {
  constexpr std::array<std::string_view, 4> names{"kernel", "loop", "accumulate", "copy"};
  return names[static_cast<std::size_t>(kind)];
}

[[nodiscard]] inline std::string padded(std::string cell, std::size_t width) {
  if (cell.size() < width) cell.resize(width, ' ');
  return cell;
}

inline void print_inputs(std::ostream& out, const PlanText& plan, int count) {
  out << "inputs\n";
  for (int i = 0; i < count; ++i)
    out << "  " << padded(plan.name(i), 12) << ' ' << shape_text(plan.node(i)) << (plan.node(i).ids ? " ids" : "")
        << '\n';
}

inline void print_step(std::ostream& out, const PlanText& plan, const Step& step, int number) {
  std::string head = text(number < 10    ? "   "
                          : number < 100 ? "  "
                                         : " ",
                          number, "  ", padded(std::string(kind_name(step.kind)), 12));
  for (const int node : plan.written(step)) {
    const std::string to = step.kind == Step::Kind::copy ? text("result ", step.result) : plan.name(node);
    const std::string value = plan.value(step, node);
    const std::string where = step.kind == Step::Kind::copy ? "" : "  " + plan.place(node);
    out << head << padded(to + " = " + value, 44) << ' ' << shape_text(plan.node(node)) << where << '\n';
    head.assign(head.size(), ' ');  // one group of lines a step
  }
}

/// "saved      48 bytes per token (12 columns), ..."; "none" where nothing is kept.
inline void print_pools(std::ostream& out, const char* title, const Pools& pools, int element_size) {
  out << padded(title, 10);
  if (pools.count == 0) out << " none";
  for (int k = 0; k < pools.count; ++k) {
    const Extent& pool = pools.pools[static_cast<std::size_t>(k)];
    out << (k == 0 ? " " : ", ") << pool.columns * element_size << " bytes ";
    out << pool_name(pool);
    if (pool.first != 0) out << " (" << pool.columns << (pool.columns == 1 ? " column)" : " columns)");
  }
  out << '\n';
}

/// Text in a quoted DOT string.
[[nodiscard]] inline std::string dot_quoted(std::string_view plain) {
  std::string quoted = "\"";
  for (const char c : plain) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

/// Draws the nodes of one plan, each once, with the edges into it.
class DotWriter {
 public:
  DotWriter(std::ostream& out, const Program& program, const Plan& plan, const PrintOptions& options)
      : out_(out), program_(program), plan_(plan), text_(program, plan, options) {}

  void write() {
    out_ << "digraph plan {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\"];\n";
    for (int s = 0; s < plan_.step_count; ++s) step(plan_.steps[static_cast<std::size_t>(s)], s + 1);
    for (int i = 0; i < program_.graph.size; ++i)
      if (seen_[static_cast<std::size_t>(i)] && !drawn_[static_cast<std::size_t>(i)]) vertex(i, "  ");
    out_ << edges_ << "}\n";
  }

 private:
  void step(const Step& step, int number) {
    if (step.kind == Step::Kind::copy) {
      edges_ += text("  result", step.result, " [label=\"result ", step.result, "\", shape=ellipse];\n");
      seen_[static_cast<std::size_t>(step.node)] = true;
      edge(step.node, text("result", step.result), "style=dashed");
      return;
    }
    const bool group = step.kind != Step::Kind::kernel;
    if (group)
      out_ << "  subgraph cluster_step" << number
           << " {\n    label=" << dot_quoted(text(number, " ", kind_name(step.kind))) << ";\n    style=rounded;\n";
    const std::string indent = group ? "    " : "  ";
    for (const int node : text_.written(step)) draw(node, indent);
    if (step.kind == Step::Kind::accumulate) draw(step.summand, indent);
    if (group) out_ << "  }\n";
  }
  /// A node, everything inlined into it, and the edges among them.
  void draw(int i, const std::string& indent) {
    const auto at = static_cast<std::size_t>(i);
    if (drawn_[at]) return;
    vertex(i, indent);
    const Node& n = program_.graph[i];
    for (int k = 0; k < n.op->arity; ++k) {
      const int input = n.inputs[static_cast<std::size_t>(k)];
      seen_[static_cast<std::size_t>(input)] = true;
      edge(input, text("n", i), "");
      if (plan_.locations[static_cast<std::size_t>(input)].place == Place::inlined) draw(input, indent);
    }
  }
  void vertex(int i, const std::string& indent) {
    drawn_[static_cast<std::size_t>(i)] = true;
    const Node& n = program_.graph[i];
    const bool named = n.is_input() || is_constant_node(n);
    const std::string title = named ? text_.name(i) : text("%", i, " ", n.op->name);
    out_ << indent << 'n' << i << " [label=" << dot_quoted(text(title, " ", shape_text(n)))
         << (n.is_input() ? ", shape=ellipse" : "") << (text_.location(i).place == Place::saved ? ", style=filled" : "")
         << "];\n";
  }
  void edge(int from, const std::string& to, const char* style) {
    edges_ += text("  n", from, " -> ", to, *style == 0 ? "" : text(" [", style, "]"), ";\n");
  }

  std::ostream& out_;
  const Program& program_;
  const Plan& plan_;
  PlanText text_;
  NodeSet drawn_{}, seen_{};
  std::string edges_;
};

}  // namespace detail

/// Writes a plan as text: inputs, steps, and the memory it needs.
inline void print(std::ostream& out, const Program& program, const Plan& plan, const PrintOptions& options = {}) {
  const detail::PlanText lines(program, plan, options);
  detail::print_inputs(out, lines, program.inputs);
  out << "steps\n";
  for (int s = 0; s < plan.step_count; ++s)
    detail::print_step(out, lines, plan.steps[static_cast<std::size_t>(s)], s + 1);
  detail::print_pools(out, "saved", detail::saved_pools(plan), options.element_size);
  detail::print_pools(out, "workspace", plan.workspace, options.element_size);
}

/// Writes the plan that calling f with tensors runs.
template <Traceable F>
void print(std::ostream& out, F, const PrintOptions& options = {}) {
  print(out, program<F>, make_plan(program<F>, all_results(program<F>)), options);
}

/// Writes both plans of a pullback; `saved` is what the forward pass keeps for the backward pass.
template <class F, Keep Policy, class Wrt>
void print(std::ostream& out, Pullback<F, Policy, Wrt>, const PrintOptions& options = {}) {
  using P = Pullback<F, Policy, Wrt>;
  out << "forward\n";
  print(out, P::traced, P::forward_plan, options);
  out << "\nbackward\n";
  print(out, P::traced, P::backward_plan, options);
}

/// Writes a plan in Graphviz' DOT language (`dot -Tsvg`): ellipses are inputs, frames one loop or one accumulation,
/// filled boxes saved for the backward pass.
inline void print_graphviz(std::ostream& out, const Program& program, const Plan& plan,
                           const PrintOptions& options = {}) {
  detail::DotWriter(out, program, plan, options).write();
}

/// The plan that calling f with tensors runs, in DOT.
template <Traceable F>
void print_graphviz(std::ostream& out, F, const PrintOptions& options = {}) {
  print_graphviz(out, program<F>, make_plan(program<F>, all_results(program<F>)), options);
}

}  // namespace linden
