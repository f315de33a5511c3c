#define BOOST_TEST_MODULE function
#include <linden/graph/function.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/backend/executor.hpp>
#include <linden/ops/product.hpp>
#include <linden/ops/reduce.hpp>

namespace {
using namespace linden;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<4, 4>>;
constexpr auto f = [](X x, Frozen<W> w, X y, Ids<Shape<tokens>>) { return hadamard(x * W(w), y); };

// Without numbers: every argument that is neither Frozen nor Ids.
static_assert(std::is_same_v<decltype(vjp(f)), decltype(vjp<0, 2>(f))>);
static_assert(std::is_same_v<result_of<decltype(vjp(f))>, std::tuple<X, X>>);
static_assert(std::is_same_v<arguments_of<decltype(vjp(f))>, std::tuple<X, Frozen<W>, X, Ids<Shape<tokens>>, X>>);
// One number: the gradient itself.
static_assert(std::is_same_v<result_of<decltype(vjp<2>(f))>, X>);
// Order is the order asked for.
static_assert(same(vjp<2, 0>(f), [](X x, Frozen<W> w, X y, Ids<Shape<tokens>> ids, X g) {
  const auto [dx, dy] = vjp(f)(x, w, y, ids, g);
  return std::tuple(dy, dx);
}));
// compile changes nothing; functions of functions compose.
static_assert(same(compile(f), f));
constexpr auto loss = [](X x) { return sum(hadamard(x, exp(x))); };
static_assert(same(value_and_grad(loss), [](X x) { return std::tuple(loss(x), grad(loss)(x)); }));
static_assert(std::is_same_v<result_of<decltype(value_and_grad(loss))>, std::tuple<Expr<Shape<>>, X>>);

// A tensor is an argument of a call that runs; an expression is not.
static_assert(RunTimeArgument<Tensor<float, Shape<4>>>);
static_assert(RunTimeArgument<TensorView<const float, Shape<4>>>);
static_assert(!RunTimeArgument<X> && !RunTimeArgument<Ids<Shape<tokens>>>);
}  // namespace

BOOST_AUTO_TEST_CASE(third_derivative_of_x_cubed) {
  constexpr auto cube = [](Expr<Shape<>> x) { return hadamard(x, hadamard(x, x)); };
  Tensor<double, Shape<>> x;
  x[0] = 2;
  BOOST_TEST(compile(cube)(x)[0] == 8);
  BOOST_TEST(grad(cube)(x)[0] == 12);
  BOOST_TEST(grad(grad(cube))(x)[0] == 12);
  BOOST_TEST(grad(grad(grad(cube)))(x)[0] == 6);
  BOOST_TEST(grad(grad(grad(grad(cube))))(x)[0] == 0);
}

BOOST_AUTO_TEST_CASE(value_and_gradient_together) {
  Tensor<double, Shape<tokens, 4>> x(2);
  for (long i = 0; i < 8; ++i) x[i] = 0.25 * double(i);
  const auto [value, gradient] = value_and_grad(loss)(x);
  double expected = 0;
  for (long i = 0; i < 8; ++i) {
    expected += x[i] * std::exp(x[i]);
    BOOST_TEST(std::abs(gradient[i] - (1 + x[i]) * std::exp(x[i])) < 1e-13);
  }
  BOOST_TEST(std::abs(value[0] - expected) < 1e-13);
}
