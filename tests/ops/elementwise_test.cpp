#define BOOST_TEST_MODULE elementwise
#include <linden/ops/elementwise.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, 5>>;

/// Positive, away from 0.
template <class S>
auto positive_tensor(std::uint64_t seed, std::convertible_to<long> auto... sizes) {
  auto x = random_tensor<S>(seed, sizes...);
  for (double& e : x.span()) e = 1.5 + e;
  return x;
}
}  // namespace

BOOST_AUTO_TEST_CASE(values_of_the_functions) {
  for (const long n : {0L, 1L, 7L}) {
    const auto x = positive_tensor<Shape<tokens, 5>>(1, n);
    const auto [e, l, r, t, s, p, g, d] = compile([](X a) {
      return std::tuple(exp(a), log(a), sqrt(a), tanh(a), sigmoid(a), relu(a + (-1.5)), silu(a), a / (a + 1.0));
    })(x);
    for (long i = 0; i < 5 * n; ++i) {
      const double v = x[i];
      BOOST_TEST(std::abs(e[i] - std::exp(v)) < 1e-14);
      BOOST_TEST(std::abs(l[i] - std::log(v)) < 1e-15);
      BOOST_TEST(std::abs(r[i] - std::sqrt(v)) < 1e-15);
      BOOST_TEST(std::abs(t[i] - std::tanh(v)) < 1e-15);
      BOOST_TEST(std::abs(s[i] - 1 / (1 + std::exp(-v))) < 1e-15);
      BOOST_TEST(p[i] == std::max(v - 1.5, 0.0));
      BOOST_TEST(std::abs(g[i] - v / (1 + std::exp(-v))) < 1e-15);
      BOOST_TEST(std::abs(d[i] - v / (v + 1)) < 1e-15);
    }
  }
}

BOOST_AUTO_TEST_CASE(large_arguments_saturate) {
  Tensor<float, Shape<4>> x;
  x[0] = 200, x[1] = -200, x[2] = 88.8F, x[3] = -100;
  const auto [s, t, g] = compile([](Expr<Shape<4>> a) { return std::tuple(sigmoid(a), tanh(a), silu(a)); })(x);
  BOOST_TEST(s[0] == 1);
  BOOST_TEST(s[1] == 0);
  BOOST_TEST(t[0] == 1);
  BOOST_TEST(t[1] == -1);
  BOOST_TEST(g[0] == 200);
  BOOST_TEST(g[3] == 0);
}

BOOST_AUTO_TEST_CASE(gradients_of_the_functions) {
  const auto x = positive_tensor<Shape<tokens, 5>>(1, 3);
  expect_gradient([](X a) { return exp(a) + log(a) - sqrt(a); }, x);
  expect_gradient([](X a) { return hadamard(exp(a), log(a)) + hadamard(exp(a), sqrt(a)); }, x);
  const auto z = random_tensor<Shape<tokens, 5>>(2, 3);
  expect_gradient([](X a) { return hadamard(tanh(a), sigmoid(a)); }, z);
  expect_gradient([](X a) { return silu(a); }, z);
  expect_gradient([](X a) { return relu(a); }, z);
  expect_gradient([](X a) { return -(2.5 * a) + 1.0; }, z);
}

BOOST_AUTO_TEST_CASE(broadcasting_rows_columns_and_scalars) {
  using Row = Expr<Shape<5>>;
  using Column = Expr<Shape<tokens, 1>>;
  const auto all = [](X x, Row row, Column column, Expr<Shape<>> number) {
    return std::tuple(x + row, column - x, number / x, hadamard(column, row));
  };
  const auto row = positive_tensor<Shape<5>>(2);
  const auto number = positive_tensor<Shape<>>(4);
  for (const long n : {0L, 1L, 4L}) {
    const auto x = positive_tensor<Shape<tokens, 5>>(1, n);
    const auto column = positive_tensor<Shape<tokens, 1>>(3, n);
    const auto [a, b, c, d] = compile(all)(x, row, column, number);
    for (long i = 0; i < n; ++i)
      for (long j = 0; j < 5; ++j) {
        BOOST_TEST(a(i, j) == x(i, j) + row[j]);
        BOOST_TEST(b(i, j) == column[i] - x(i, j));
        BOOST_TEST(c(i, j) == number[0] / x(i, j));
        BOOST_TEST(d(i, j) == column[i] * row[j]);
      }
  }
  const auto x = positive_tensor<Shape<tokens, 5>>(1, 4);
  const auto column = positive_tensor<Shape<tokens, 1>>(3, 4);
  expect_gradient([](X a, Row r, Column c, Expr<Shape<>> s) { return hadamard(a + r, c - a) + s / a; }, x, row, column,
                  number);
  expect_gradient(
      [](X a, Row r, Column c, Expr<Shape<>> s) { return hadamard(r / a, a / c) - hadamard(s, hadamard(c, r)); }, x,
      row, column, number);
}

BOOST_AUTO_TEST_CASE(both_sides_the_same) {
  expect_gradient([](X a) { return hadamard(a, a) + a - a / (hadamard(a, a) + 1.0); },
                  random_tensor<Shape<tokens, 5>>(1, 2));
}

BOOST_AUTO_TEST_CASE(second_derivatives) {
  const auto z = positive_tensor<Shape<tokens, 5>>(2, 2);
  const auto g = random_tensor<Shape<tokens, 5>>(3, 2);
  expect_gradient(vjp<0>([](X a) { return silu(a); }), z, g);
  expect_gradient(vjp<0>([](X a) { return hadamard(exp(a), tanh(a)); }), z, g);
  expect_gradient(vjp<1>([](X a, X b) { return a / b; }), z, positive_tensor<Shape<tokens, 5>>(5, 2), g);
}

namespace {
template <class T>
void check_golden(double tolerance) {
  using Matrix = Shape<5, 8>;
  const auto g = golden("ops.json").at("silu_mul");
  const auto read = [](const nlohmann::json& numbers) {
    Tensor<T, Matrix> x;
    BOOST_REQUIRE_EQUAL(x.size(), numbers.size());
    for (long i = 0; i < 40; ++i) x[i] = numbers.at(std::size_t(i)).template get<T>();
    return x;
  };
  const auto error = [](const Tensor<T, Matrix>& found, const nlohmann::json& expected) {
    return relative_l2(std::vector<T>(found.span().begin(), found.span().end()), expected.get<std::vector<double>>());
  };
  const auto gate = read(g.at("inputs").at("gate").at("data")), up = read(g.at("inputs").at("up").at("data"));
  const auto f = [](Expr<Matrix> a, Expr<Matrix> b) { return hadamard(silu(a), b); };
  const auto [dgate, dup] = vjp(f)(gate, up, read(g.at("dy")));
  BOOST_TEST(error(compile(f)(gate, up), g.at("y").at("data")) < tolerance);
  BOOST_TEST(error(dgate, g.at("grads").at("gate")) < tolerance);
  BOOST_TEST(error(dup, g.at("grads").at("up")) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_values_in_double) { check_golden<double>(1e-10); }
BOOST_AUTO_TEST_CASE(golden_values_in_float) { check_golden<float>(1e-5); }
