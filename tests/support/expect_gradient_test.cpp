#define BOOST_TEST_MODULE expect_gradient
#include "support/expect_gradient.hpp"
//
#include <linden/ops/product.hpp>

// The harness itself: it passes what is right and fails what is wrong, in each of the ways a gradient can be wrong.
namespace {
using namespace linden;
using namespace linden::test;
namespace utf = boost::unit_test;

template <int Mistake>
struct Cube {
  static constexpr const char* name = "cube";
  static constexpr int arity = 1;
  template <class T>
  static T element(T x) {
    if (Mistake == 3 && sizeof(T) == 4) return x * x * x * T(1.01);
    return x * x * x;
  }
  static constexpr void vjp(Vjp& v) {
    const double factor = Mistake == 1 ? 3.00001 : Mistake == 2 ? -3 : 3;
    const Value square = symbolic::hadamard(v.input(0), v.input(0));
    v.gradient(0, symbolic::hadamard(v.upstream(), symbolic::scale(factor, square)));
  }
};

template <int Mistake>
struct CubeOf {
  constexpr auto operator()(Expr<Shape<2, 3>> x) const { return Expr<Shape<2, 3>>(symbolic::map<Cube<Mistake>>(x)); }
};
template <class Mode>
struct Pair {
  typename Mode::template tensor<Shape<2, 3>> a{"a"};
  typename Mode::template tensor<Shape<3>> b{"b"};
};

GradientErrors errors_of(auto f) { return gradient_errors(f, {}, random_tensor<Shape<2, 3>>(7)); }
}  // namespace

BOOST_AUTO_TEST_CASE(right_gradients_pass) {
  BOOST_TEST(errors_of(CubeOf<0>{}).differences < 1e-8);
  expect_gradient(CubeOf<0>{}, random_tensor<Shape<2, 3>>(7));
}

BOOST_AUTO_TEST_CASE(wrong_gradients_are_measured) {
  BOOST_TEST(errors_of(CubeOf<1>{}).differences > 3e-6);
  BOOST_TEST(errors_of(CubeOf<2>{}).differences > 1.9);
  BOOST_TEST(errors_of(CubeOf<3>{}).differences < 1e-8);
  BOOST_TEST(errors_of(CubeOf<3>{}).value > 9e-3);
}

BOOST_AUTO_TEST_CASE(a_wrong_factor_fails, *utf::expected_failures(1)) {
  expect_gradient(CubeOf<1>{}, random_tensor<Shape<2, 3>>(7));
}
BOOST_AUTO_TEST_CASE(a_wrong_float_version_fails, *utf::expected_failures(1)) {
  expect_gradient(CubeOf<3>{}, random_tensor<Shape<2, 3>>(7));
}
BOOST_AUTO_TEST_CASE(a_given_tolerance_is_used, *utf::expected_failures(1)) {
  expect_gradient(CubeOf<1>{}, {.differences = 1e-4}, random_tensor<Shape<2, 3>>(7));
  expect_gradient(CubeOf<0>{}, {.differences = 0}, random_tensor<Shape<2, 3>>(7));
}

BOOST_AUTO_TEST_CASE(the_wrong_argument_is_named) {
  const auto errors = gradient_errors(
      [](Expr<Shape<2, 3>> a, Frozen<Expr<Shape<2, 3>>> frozen, Expr<Shape<2, 3>> c) {
        return hadamard(a, frozen) + Expr<Shape<2, 3>>(symbolic::map<Cube<2>>(c));
      },
      {}, random_tensor<Shape<2, 3>>(1), random_tensor<Shape<2, 3>>(2), random_tensor<Shape<2, 3>>(3));
  BOOST_TEST(errors.argument == 2);
  BOOST_TEST(errors.differences > 1.9);
}

BOOST_AUTO_TEST_CASE(records_are_arguments_too) {
  auto a = random_tensor<Shape<2, 3>>(1);
  auto b = random_tensor<Shape<3>>(2);
  Pair<Bound<double>> pair;
  pair.a = a.view();
  pair.b = b.view();
  expect_gradient([](Pair<Symbolic> p) { return hadamard(p.a, p.b); }, pair);
}
