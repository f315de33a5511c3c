#define BOOST_TEST_MODULE differentiate
#include <linden/graph/differentiate.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/graph/function.hpp>
#include <linden/ops/norm.hpp>
#include <linden/ops/product.hpp>

namespace {
using namespace linden;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<3, 4>>;
using A = Expr<Shape<4, rank>>;
using P = Expr<Shape<rank>>;
using B = Expr<Shape<rank, 3>>;
using Y = Expr<Shape<tokens, 3>>;

// The adapted layer: the compiler proves the four formulas of its gradient.
constexpr auto layer = [](X x, Frozen<W> w, A a, P p, B b) { return x * transpose(W(w)) + x * a * diag(p) * b; };
static_assert(same(vjp<0>(layer), [](X, Frozen<W> w, A a, P p, B b, Y g) {
  return g * W(w) + hadamard(g * transpose(b), p) * transpose(a);
}));
static_assert(same(vjp<2>(layer),
                   [](X x, Frozen<W>, A, P p, B b, Y g) { return transpose(x) * (g * transpose(b) * diag(p)); }));
static_assert(same(vjp<3>(layer),
                   [](X x, Frozen<W>, A a, P, B b, Y g) { return sum_rows(hadamard(g * transpose(b), x * a)); }));
static_assert(same(vjp<4>(layer), [](X x, Frozen<W>, A a, P p, B, Y g) { return transpose(x * a * diag(p)) * g; }));
static_assert(!same(vjp<4>(layer), [](X x, Frozen<W>, A a, P, B, Y g) { return transpose(x * a) * g; }));

/// Operations called `Op` in the program of F.
template <class Op, class F>
constexpr int count(F) {
  int found = 0;
  for (int i = 0; i < program<F>.graph.size; ++i) found += program<F>.graph[i].op == &descriptor<Op> ? 1 : 0;
  return found;
}

// Only what is asked for is built: the forward product, and one for each wanted gradient.
constexpr auto product = [](X x, Expr<Shape<4, 3>> w) { return x * w; };
static_assert(count<MatMul>(vjp<0>(product)) == 2);
static_assert(count<MatMul>(vjp<1>(product)) == 2);
static_assert(count<MatMul>(vjp(product)) == 3);
static_assert(count<RmsNormBackward>(vjp<2>([](X x, Frozen<Expr<Shape<4>>> n, W w) {
                return rms_norm(x, Expr<Shape<4>>(n), 1e-5) * transpose(w);
              })) == 0);

// The gradient of a sum of several uses is one sum; of none, zero.
static_assert(same(vjp<0>([](X x) { return x + x; }), [](X, X g) { return g + g; }));
static_assert(same(vjp<0>([](X, X y) { return y; }),
                   [](X x, X, X) { return X(symbolic::zeros(*x.graph, tokens, 4)); }));
static_assert(same(vjp<0, 1>([](X, X y) { return y; }),
                   [](X x, X, X g) { return std::tuple(X(symbolic::zeros(*x.graph, tokens, 4)), g); }));
// The identity passes the upstream gradient on.
static_assert(same(vjp<0>([](X x) { return x; }), [](X, X g) { return g; }));
// Repeated operands are summed back to their shape.
static_assert(same(vjp<1>([](X x, Expr<Shape<4>> row) { return x + row; }),
                   [](X, Expr<Shape<4>>, X g) { return sum_rows(g); }));
static_assert(same(vjp<1>([](X x, Expr<Shape<tokens, 1>> column) { return x + column; }),
                   [](X, Expr<Shape<tokens, 1>>, X g) { return sum_columns(g); }));
static_assert(same(vjp<1>([](X x, Expr<Shape<>> s) { return x + s; }), [](X, Expr<Shape<>>, X g) { return sum(g); }));

// Inside a traced function.
static_assert(same([](X x, X g) { return std::get<0>(differentiate(exp(x), g, x)); },
                   [](X x, X g) { return hadamard(g, exp(x)); }));

// No gradient flows through what is flat, and none is made up where an operation has no rule.
static_assert(same(vjp<0>([](X x) { return X(symbolic::map<Positive>(x)); }),
                   [](X x, X) { return X(symbolic::zeros(*x.graph, tokens, 4)); }));
struct Ruleless {
  static constexpr const char* name = "ruleless";
  static constexpr int arity = 1;
  template <class T>
  static T element(T x) {
    return x;
  }
};
}  // namespace

BOOST_AUTO_TEST_CASE(an_operation_without_a_rule_is_refused) {
  Graph graph;
  const Value x{&graph, graph.input(2, 3, false, "x")}, c{&graph, graph.input(2, 3, false, "c")};
  const Value y = symbolic::add(symbolic::map<Ruleless>(x), c);
  int gradient = -1;
  BOOST_CHECK_THROW(detail::differentiate(graph, y.id, c.id, &x.id, 1, &gradient), const char*);
  detail::differentiate(graph, y.id, c.id, &c.id, 1, &gradient);  // nobody asks for the gradient through it
  BOOST_TEST(gradient == c.id);
}
BOOST_AUTO_TEST_CASE(second_derivatives_of_fused_kernels_are_refused_not_zero) {
  Graph graph;
  const Value x{&graph, graph.input(2, 3, false, "x")}, w{&graph, graph.input(1, 3, false, "w")};
  const Value g{&graph, graph.input(2, 3, false, "g")};
  int dx = -1, ddx = -1;
  const Value y = symbolic::apply<RmsNorm>(2, 3, {1e-5}, x, w);
  detail::differentiate(graph, y.id, g.id, &x.id, 1, &dx);
  BOOST_REQUIRE(dx >= 0);
  BOOST_CHECK_THROW(detail::differentiate(graph, dx, g.id, &x.id, 1, &ddx), const char*);
}
