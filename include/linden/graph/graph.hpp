#pragma once
/// \file
/// The graph as a value: an array of nodes built inside the compiler. Adding a node that exists returns the one that
/// exists (hash-consing), so equal expressions are the same node and common sub-expressions vanish.
/// Errors  a graph of more than `Graph::capacity` nodes does not compile.
/// Source  Ershov 1958, "On programming of arithmetic operations" (hash-consing).

#include <array>
#include <linden/core/shape.hpp>
#include <linden/graph/memory.hpp>
#include <linden/graph/op.hpp>
#include <utility>

namespace linden {

struct Graph;

/// A node seen from outside: which graph, which number. `Expr` adds the shape to the type.
struct Value {
  Graph* graph = nullptr;  ///< null: not bound to a graph yet
  int id = -1;             ///< the node's number; -1: none yet
  /// The same node.
  friend constexpr bool operator==(const Value& a, const Value& b) { return a.id == b.id && a.graph == b.graph; }
};

/// An argument of the traced function.
struct Input {
  static constexpr const char* name = "input";
  static constexpr int arity = 0;
};

/// One operation, one input of the traced function, one constant, or one further result of an operation.
struct Node {
  const Descriptor* op = &descriptor<Input>;                           ///< which operation
  std::array<int, max_inputs> inputs{-1, -1, -1, -1, -1, -1, -1, -1};  ///< numbers of its input nodes; -1: none
  std::array<double, max_attributes> attributes{};                     ///< its constants, as the operation says
  long rows = 1, columns = 1;                                          ///< extents, positive or named
  bool ids = false;                                                    ///< holds int32, not numbers
  const char* name = nullptr;                                          ///< inputs: what the user calls it

  [[nodiscard]] constexpr bool is_input() const { return op == &descriptor<Input>; }  ///< an argument of the traced function
};

/// A number written into the expression: shape [1, 1], value in attributes[0].
struct Constant {
  static constexpr const char* name = "constant";
  static constexpr int arity = 0;
};

/// Result `attributes[0]` of an operation with several results; result 0 is the operation's own node.
struct Result {
  static constexpr const char* name = "result";
  static constexpr int arity = 1;
};

/// Nodes in the order in which they were added: every node after its inputs.
struct Graph {
  static constexpr int capacity = 512;               ///< nodes, at most
  static constexpr std::uint32_t table_size = 2048;  ///< of the hash table that finds equal nodes

  std::array<Node, capacity> nodes{};  ///< the first `size` are in use
  int size = 0;                        ///< nodes there are

  /// Adds an input; every input is a node of its own.
  constexpr int input(long row_count, long column_count, bool ids, const char* name) {
    Node node;
    node.rows = row_count;
    node.columns = column_count;
    node.ids = ids;
    node.name = name;
    return append(node);
  }

  /// The node equal to `node`: the one that exists, or a new one.
  constexpr int add(Node node) {
    if (node.op->commutative && node.inputs[0] > node.inputs[1]) std::swap(node.inputs[0], node.inputs[1]);
    std::uint32_t slot = hash(node) % table_size;
    for (; table_[slot] != 0; slot = (slot + 1) % table_size)
      if (same(nodes[static_cast<std::size_t>(table_[slot] - 1)], node)) return table_[slot] - 1;
    const int id = append(node);
    table_[slot] = static_cast<short>(id + 1);
    return id;
  }

  /// Node number `id`.
  [[nodiscard]] constexpr const Node& operator[](int id) const { return nodes[static_cast<std::size_t>(id)]; }
  /// The node behind a value.
  [[nodiscard]] constexpr const Node& operator[](Value v) const { return (*this)[v.id]; }

  /// Whether a node's values are float also where elements are narrower.
  [[nodiscard]] constexpr bool wide(int id) const {
    const Node& n = (*this)[id];
    const bool further = n.op == &descriptor<Result>;
    const Descriptor& op = further ? *(*this)[n.inputs[0]].op : *n.op;
    return (op.wide_results >> (further ? static_cast<unsigned>(n.attributes[0]) : 0U) & 1U) != 0;
  }
  /// The buffer a node needs, in elements: what is wide counts twice, so that floats fit where elements have half their size.
  [[nodiscard]] constexpr Extent extent(int id) const {
    const Node& n = (*this)[id];
    return Extent::of(n.rows, n.columns, wide(id) ? 2 : 1);
  }

 private:
  constexpr int append(const Node& node) {
    if (size == capacity) throw "linden: this function needs more than Graph::capacity nodes; split it";
    nodes[static_cast<std::size_t>(size)] = node;
    return size++;
  }
  static constexpr std::uint32_t hash(const Node& node) {
    std::uint32_t h = node.op->hash;
    for (int k = 0; k < node.op->arity; ++k)
      h = detail::mix(h, static_cast<std::uint32_t>(node.inputs[static_cast<std::size_t>(k)] + 1));
    for (const double a : node.attributes)
      if (a > -1e6 && a < 1e6) h = detail::mix(h, static_cast<std::uint32_t>(static_cast<std::int32_t>(a * 1024)));
    return h ^ (h >> 15U);
  }
  static constexpr bool same(const Node& a, const Node& b) {
    if (a.op != b.op || a.rows != b.rows || a.columns != b.columns) return false;
    for (int k = 0; k < a.op->arity; ++k)
      if (a.inputs[static_cast<std::size_t>(k)] != b.inputs[static_cast<std::size_t>(k)]) return false;
    for (std::size_t k = 0; k < max_attributes; ++k)
      if (a.attributes[k] != b.attributes[k]) return false;
    return true;
  }

  std::array<short, table_size> table_{};
};

/// Untyped building blocks: what vector-Jacobian rules are written with. Shapes are checked where users write, in Expr.
namespace symbolic {

[[nodiscard]] constexpr const Node& node(Value v) { return (*v.graph)[v.id]; }  ///< the node behind a value

/// The node `Op(inputs...)` of the given shape.
template <class Op, class... Inputs>
constexpr Value apply(long row_count, long column_count, std::array<double, max_attributes> attributes, Value first,
                      Inputs... more) {
  static_assert(1 + sizeof...(more) == Op::arity, "linden: wrong number of inputs for this operation");
  Node n;
  n.op = &descriptor<Op>;
  n.inputs[0] = first.id;
  std::size_t next = 1;
  ((n.inputs[next++] = more.id), ...);
  n.attributes = attributes;
  n.rows = row_count;
  n.columns = column_count;
  return {first.graph, first.graph->add(n)};
}

/// A number in the graph of `like`.
[[nodiscard]] constexpr Value constant(Value like, double number) {
  Node n;
  n.op = &descriptor<Constant>;
  n.attributes[0] = number;
  return {like.graph, like.graph->add(n)};
}

/// True for the constant `number` itself.
[[nodiscard]] constexpr bool is_constant(Value v, double number) {
  return node(v).op == &descriptor<Constant> && node(v).attributes[0] == number;
}

/// Result number `index` (above 0) of an operation with several results.
[[nodiscard]] constexpr Value result(Value operation, int index, long row_count, long column_count) {
  return apply<Result>(row_count, column_count, {static_cast<double>(index)}, operation);
}

}  // namespace symbolic
}  // namespace linden
