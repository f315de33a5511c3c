#define BOOST_TEST_MODULE product
#include <linden/ops/product.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
template <long... E>
using M = Expr<Shape<E...>>;

using Rows = Expr<Shape<tokens, any_rows>>;
using Inner = Expr<Shape<any_rows, any_columns>>;

/// |a * b - loop| at its largest, for sizes chosen at run time.
double error_of_product(long m, long k, long n) {
  const auto a = random_tensor<Shape<tokens, any_rows>>(1, m, k);
  const auto b = random_tensor<Shape<any_rows, any_columns>>(2, k, n);
  const auto c = compile([](Rows x, Inner y) { return x * y; })(a, b);
  double worst = 0;
  for (long i = 0; i < m; ++i)
    for (long j = 0; j < n; ++j) {
      double sum = 0;
      for (long l = 0; l < k; ++l) sum += a(i, l) * b(l, j);
      worst = std::max(worst, std::abs(sum - c(i, j)));
    }
  return worst;
}
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_a_triple_loop) {
  for (const long m : {0L, 1L, 3L, 17L, 48L, 49L})
    for (const long n : {1L, 5L, 16L, 33L})
      for (const long k : {0L, 1L, 7L, 64L}) BOOST_TEST(error_of_product(m, k, n) < 1e-13);
}

BOOST_AUTO_TEST_CASE(gradients_of_all_four_transposes) {
  expect_gradient([](M<3, 5> a, M<5, 2> b) { return a * b; }, random_tensor<Shape<3, 5>>(1),
                  random_tensor<Shape<5, 2>>(2));
  expect_gradient([](M<5, 3> a, M<5, 2> b) { return transpose(a) * b; }, random_tensor<Shape<5, 3>>(1),
                  random_tensor<Shape<5, 2>>(2));
  expect_gradient([](M<3, 5> a, M<2, 5> b) { return a * transpose(b); }, random_tensor<Shape<3, 5>>(1),
                  random_tensor<Shape<2, 5>>(2));
  expect_gradient([](M<5, 3> a, M<2, 5> b) { return transpose(a) * transpose(b); }, random_tensor<Shape<5, 3>>(1),
                  random_tensor<Shape<2, 5>>(2));
}

BOOST_AUTO_TEST_CASE(a_factor_used_twice_gets_both_gradients) {
  expect_gradient([](M<4, 4> a) { return a * transpose(a) * a; }, random_tensor<Shape<4, 4>>(3));
}

BOOST_AUTO_TEST_CASE(a_transpose_that_is_stored) {
  const auto a = random_tensor<Shape<3, 5>>(1);
  const auto at = compile([](M<3, 5> x) { return transpose(x); })(a);
  for (long i = 0; i < 3; ++i)
    for (long j = 0; j < 5; ++j) BOOST_TEST(at(j, i) == a(i, j));
  expect_gradient([](M<3, 5> x, M<5, 3> y) { return exp(transpose(x)) + y; }, a, random_tensor<Shape<5, 3>>(2));
}

BOOST_AUTO_TEST_CASE(diagonal_matrices_on_both_sides) {
  const auto a = random_tensor<Shape<3, 4>>(1);
  const auto p = random_tensor<Shape<4>>(2);
  const auto q = random_tensor<Shape<3>>(3);
  const auto both = [](M<3, 4> x, M<4> right, M<3> left) { return diag(left) * x * diag(right); };
  const auto y = compile(both)(a, p, q);
  for (long i = 0; i < 3; ++i)
    for (long j = 0; j < 4; ++j) BOOST_TEST(std::abs(y(i, j) - q[i] * a(i, j) * p[j]) < 1e-15);
  expect_gradient(both, a, p, q);
}

BOOST_AUTO_TEST_CASE(rows_of_a_wider_matrix_and_repeated_rows) {
  // The first two columns of a [3, 5], and one row of P shown three times.
  auto wide = random_tensor<Shape<3, 5>>(1);
  auto row = random_tensor<Shape<2>>(2);
  const auto b = random_tensor<Shape<any_columns, 4>>(3, 2);
  const auto prefix = TensorView<double, Shape<3, any_columns>>::strided(wide.data(), 3, 2, 5);
  const auto repeated = TensorView<double, Shape<3, any_columns>>::strided(row.data(), 3, 2, 0);
  const auto y = compile([](M<3, any_columns> x, M<3, any_columns> P, M<any_columns, 4> w) {
    return hadamard(x, P) * w + P * w;
  })(prefix, repeated, b);
  for (long i = 0; i < 3; ++i)
    for (long j = 0; j < 4; ++j) {
      double sum = 0;
      for (long k = 0; k < 2; ++k) sum += (wide(i, k) + 1) * row[k] * b(k, j);
      BOOST_TEST(std::abs(y(i, j) - sum) < 1e-14);
    }
}
