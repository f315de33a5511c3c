#define BOOST_TEST_MODULE reduce
#include <linden/ops/reduce.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, any_columns>>;
}  // namespace

BOOST_AUTO_TEST_CASE(values_over_every_axis) {
  const auto all = compile([](X x) {
    return std::tuple(sum(x), sum_rows(x), sum_columns(x), mean(x), mean_rows(x), mean_columns(x), max(x), max_rows(x),
                      max_columns(x));
  });
  for (const long m : {1L, 2L, 63L, 64L, 65L, 200L})
    for (const long n : {1L, 3L, 300L}) {
      const auto x = random_tensor<Shape<tokens, any_columns>>(1, m, n);
      const auto [s, sr, sc, a, ar, ac, h, hr, hc] = all(x);
      double total = 0, highest = -2;
      std::vector<double> row_sums(std::size_t(m), 0.0), column_sums(std::size_t(n), 0.0),
          row_max(std::size_t(m), -2.0), column_max(std::size_t(n), -2.0);
      for (long i = 0; i < m; ++i)
        for (long j = 0; j < n; ++j) {
          const auto r = std::size_t(i), c = std::size_t(j);
          total += x(i, j), row_sums[r] += x(i, j), column_sums[c] += x(i, j);
          highest = std::max(highest, x(i, j));
          row_max[r] = std::max(row_max[r], x(i, j)), column_max[c] = std::max(column_max[c], x(i, j));
        }
      BOOST_TEST(std::abs(s[0] - total) < 1e-10);
      BOOST_TEST(std::abs(a[0] - total / double(m * n)) < 1e-13);
      BOOST_TEST(h[0] == highest);
      for (long i = 0; i < m; ++i) {
        const auto r = std::size_t(i);
        BOOST_REQUIRE(std::abs(sc[i] - row_sums[r]) < 1e-11);
        BOOST_REQUIRE(std::abs(ac[i] - row_sums[r] / double(n)) < 1e-13);
        BOOST_REQUIRE(hc[i] == row_max[r]);
      }
      for (long j = 0; j < n; ++j) {
        const auto c = std::size_t(j);
        BOOST_REQUIRE(std::abs(sr[j] - column_sums[c]) < 1e-11);
        BOOST_REQUIRE(std::abs(ar[j] - column_sums[c] / double(m)) < 1e-13);
        BOOST_REQUIRE(hr[j] == column_max[c]);
      }
    }
}

BOOST_AUTO_TEST_CASE(of_no_rows) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 0);
  const auto [s, sr, sc, a, h, hr] = compile([](Expr<Shape<tokens, 3>> t) {
    return std::tuple(sum(t), sum_rows(t), sum_columns(t), mean(t), max(t), max_rows(t));
  })(x);
  BOOST_TEST(s[0] == 0);
  BOOST_TEST(sr[2] == 0);
  BOOST_TEST(sc.size() == 0U);
  BOOST_TEST(std::isnan(a[0]));
  BOOST_TEST(h[0] == -std::numeric_limits<double>::infinity());
  BOOST_TEST(hr[1] == -std::numeric_limits<double>::infinity());
}

BOOST_AUTO_TEST_CASE(a_maximum_with_nan_is_nan) {
  auto x = random_tensor<Shape<3>>(1);
  x[0] = std::nan("");
  BOOST_TEST(std::isnan(compile([](Expr<Shape<3>> t) { return max(t); })(x)[0]));
  std::swap(x[0], x[1]);
  BOOST_TEST(std::isnan(compile([](Expr<Shape<3>> t) { return max(t); })(x)[0]));
}

BOOST_AUTO_TEST_CASE(gradients_of_sums_and_means) {
  const auto x = random_tensor<Shape<tokens, any_columns>>(2, 4, 3);
  expect_gradient([](X t) { return sum(hadamard(t, t)); }, x);
  expect_gradient([](X t) { return hadamard(sum_rows(exp(t)), mean_rows(t)); }, x);
  expect_gradient([](X t) { return hadamard(sum_columns(exp(t)), mean_columns(t)); }, x);
  expect_gradient([](X t) { return t - mean(hadamard(t, t)); }, x);
  expect_gradient([](Expr<Shape<5>> t) { return mean(t) + sum(hadamard(t, t)); }, random_tensor<Shape<5>>(3));
}

BOOST_AUTO_TEST_CASE(gradients_of_maxima) {
  const auto x = random_tensor<Shape<tokens, any_columns>>(2, 4, 3);
  expect_gradient([](X t) { return hadamard(max(t), max_rows(t)); }, x);
  expect_gradient([](X t) { return max_columns(hadamard(t, t)); }, x);
}

BOOST_AUTO_TEST_CASE(ties_share_the_gradient_of_a_maximum) {
  Tensor<double, Shape<2, 3>> x;
  x(0, 0) = 4, x(0, 1) = 4, x(0, 2) = -1, x(1, 0) = 4, x(1, 1) = 0, x(1, 2) = -1;
  using T = Expr<Shape<2, 3>>;
  const auto all = grad([](T t) { return max(t); })(x);
  const auto rows_up = grad([](T t) { return sum(max_rows(t)); })(x);
  const auto along = grad([](T t) { return sum(max_columns(t)); })(x);
  const std::vector<double> third{1. / 3, 1. / 3, 0, 1. / 3, 0, 0}, up{.5, 1, .5, .5, 0, .5},
      across{.5, .5, 0, 1, 0, 0};
  for (long i = 0; i < 6; ++i) {
    BOOST_TEST(std::abs(all[i] - third[std::size_t(i)]) < 1e-15);
    BOOST_TEST(rows_up[i] == up[std::size_t(i)]);
    BOOST_TEST(along[i] == across[std::size_t(i)]);
  }
}

BOOST_AUTO_TEST_CASE(second_derivatives) {
  expect_gradient(grad([](Expr<Shape<2, 3>> t) { return mean(hadamard(t, exp(t))); }), random_tensor<Shape<2, 3>>(1));
}
