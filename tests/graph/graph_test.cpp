#define BOOST_TEST_MODULE graph
#include <linden/graph/graph.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/graph/function.hpp>
#include <linden/ops/product.hpp>

// What the compiler decides, the compiler tests; the cases below only say that this file compiled and ran.
namespace {
using namespace linden;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<4, 4>>;

template <class F>
constexpr int count_nodes(F) {
  return program<F>.graph.size - program<F>.inputs;
}

// Equal expressions are one node.
static_assert(count_nodes([](X x, W w) { return x * w; }) == 1);
static_assert(count_nodes([](X x, W w) { return x * w + x * w; }) == 2);
static_assert(count_nodes([](X x, X y) { return std::tuple(x + y, y + x); }) == 1);
static_assert(count_nodes([](X x, X y) { return std::tuple(hadamard(x, y), hadamard(y, x)); }) == 1);
static_assert(count_nodes([](X x, X y) { return std::tuple(x - y, y - x); }) == 2);
static_assert(count_nodes([](X x, X y) { return std::tuple(x / y, y / x); }) == 2);
static_assert(count_nodes([](W v, W w) { return std::tuple(v * w, w * v); }) == 2);
// Constants too, and attributes tell operations apart.
static_assert(count_nodes([](X x) { return std::tuple(2.0 * x, 2.0 * x, 3.0 * x); }) == 4);
static_assert(count_nodes([](W v, W w) { return std::tuple(transpose(v) * w, v * w); }) == 3);
// A transpose is read in place; of a transpose it is the matrix itself; times one is nothing.
static_assert(program<decltype([](W v, W w) { return transpose(v) * w; })>.graph[3].op == &descriptor<MatMul>);
static_assert(count_nodes([](W w) { return transpose(transpose(w)); }) == 1);
static_assert(program<decltype([](W w) { return transpose(transpose(w)); })>.results[0] == 0);
static_assert(program<decltype([](X x) { return 1.0 * x; })>.results[0] == 0);
// Inputs are never merged.
static_assert(program<decltype([](X x, X y) { return x + y; })>.inputs == 2);

constexpr bool finds_what_exists() {
  Graph graph;
  const int a = graph.input(tokens, 4, false, "a"), b = graph.input(tokens, 4, false, "b");
  const Value x{&graph, a}, y{&graph, b};
  const Value sum = symbolic::add(x, y);
  const int size = graph.size;
  return symbolic::add(y, x) == sum && symbolic::add(x, y) == sum && graph.size == size && a != b &&
         !(symbolic::constant(x, 0.5) == symbolic::constant(x, 0.25)) &&
         symbolic::constant(x, 1e300) == symbolic::constant(x, 1e300);
}
static_assert(finds_what_exists());

constexpr bool holds_its_capacity() {
  Graph graph;
  Value v{&graph, graph.input(1, 1, false, nullptr)};
  for (int i = 1; i < Graph::capacity; ++i) v = symbolic::map<Exp>(v);
  return graph.size == Graph::capacity && symbolic::map<Exp>(Value{&graph, graph.size - 2}).id == graph.size - 1;
}
static_assert(holds_its_capacity());
}  // namespace

BOOST_AUTO_TEST_CASE(one_node_too_many_is_refused) {
  Graph graph;
  Value v{&graph, graph.input(1, 1, false, nullptr)};
  for (int i = 1; i < Graph::capacity; ++i) v = symbolic::map<Exp>(v);
  BOOST_CHECK_THROW(symbolic::map<Exp>(v), const char*);
}
BOOST_AUTO_TEST_CASE(inner_extents_are_checked_in_symbols_too) {
  Graph graph;
  const Value a{&graph, graph.input(2, 3, false, nullptr)};
  BOOST_CHECK_THROW(symbolic::matmul(a, a), const char*);
  BOOST_CHECK_THROW(symbolic::add(a, Value{&graph, graph.input(2, 4, false, nullptr)}), const char*);
}
