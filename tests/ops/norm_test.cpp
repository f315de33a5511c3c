#define BOOST_TEST_MODULE norm
#include <linden/ops/norm.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, any_columns>>;
using W = Expr<Shape<any_columns>>;

/// The golden values of one operation: largest difference over the largest expected value.
template <class T, class S>
double golden_error(const Tensor<T, S>& found, const nlohmann::json& expected) {
  const auto numbers = expected.get<std::vector<double>>();
  return relative_l2(std::vector<T>(found.span().begin(), found.span().end()), numbers);
}
template <class T, class S>
Tensor<T, S> golden_tensor(const nlohmann::json& numbers) {
  Tensor<T, S> x;
  BOOST_REQUIRE_EQUAL(x.size(), numbers.size());
  for (long i = 0; i < long(x.size()); ++i) x[i] = numbers.at(std::size_t(i)).template get<T>();
  return x;
}

template <class T>
void check_golden(double tolerance) {
  const auto g = golden("ops.json").at("rmsnorm");
  BOOST_REQUIRE_EQUAL(g.at("params").at("eps").template get<double>(), 1e-5);
  const auto x = golden_tensor<T, Shape<5, 8>>(g.at("inputs").at("x").at("data"));
  const auto w = golden_tensor<T, Shape<8>>(g.at("inputs").at("w").at("data"));
  const auto dy = golden_tensor<T, Shape<5, 8>>(g.at("dy"));
  const auto f = [](Expr<Shape<5, 8>> a, Expr<Shape<8>> b) { return rms_norm(a, b, 1e-5); };
  const auto [dx, dw] = vjp(f)(x, w, dy);
  BOOST_TEST(golden_error(compile(f)(x, w), g.at("y").at("data")) < tolerance);
  BOOST_TEST(golden_error(dx, g.at("grads").at("x")) < tolerance);
  BOOST_TEST(golden_error(dw, g.at("grads").at("w")) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_values_in_double) { check_golden<double>(1e-10); }
BOOST_AUTO_TEST_CASE(golden_values_in_float) { check_golden<float>(1e-5); }

BOOST_AUTO_TEST_CASE(rms_norm_agrees_with_its_formula) {
  for (const long m : {0L, 1L, 3L, 130L})
    for (const long n : {1L, 15L, 16L, 17L, 64L}) {
      const auto x = random_tensor<Shape<tokens, any_columns>>(1, m, n);
      const auto w = random_tensor<Shape<any_columns>>(2, n);
      const auto y = compile([](X a, W b) { return rms_norm(a, b, 1e-5); })(x, w);
      for (long i = 0; i < m; ++i) {
        double square = 0;
        for (long j = 0; j < n; ++j) square += x(i, j) * x(i, j);
        for (long j = 0; j < n; ++j)
          BOOST_REQUIRE(std::abs(y(i, j) - x(i, j) / std::sqrt(square / double(n) + 1e-5) * w[j]) < 1e-13);
      }
    }
}

BOOST_AUTO_TEST_CASE(rms_norm_of_zeros_is_zero) {
  const Tensor<float, Shape<tokens, any_columns>> x(2, 5);
  Tensor<float, Shape<any_columns>> w(5);
  w[0] = 1;
  const auto y = compile([](X a, W b) { return rms_norm(a, b, 1e-5); })(x, w);
  for (const float element : y.span()) BOOST_TEST(element == 0);
}

BOOST_AUTO_TEST_CASE(gradients_of_rms_norm) {
  const auto f = [](X a, W b) { return rms_norm(a, b, 1e-2); };
  for (const long m : {1L, 19L})  // 19 rows: two pieces of dw
    for (const long n : {1L, 18L})
      expect_gradient(f, random_tensor<Shape<tokens, any_columns>>(3, m, n), random_tensor<Shape<any_columns>>(4, n));
  const auto [dx, dw] =
      vjp(f)(random_tensor<Shape<tokens, any_columns>>(3, 0, 4), random_tensor<Shape<any_columns>>(4, 4),
             random_tensor<Shape<tokens, any_columns>>(5, 0, 4));
  BOOST_TEST(dx.size() == 0U);
  for (const double g : dw.span()) BOOST_TEST(g == 0);
  expect_gradient([](Frozen<X> a, W b) { return rms_norm(Expr<Shape<tokens, any_columns>>(a), b, 1e-2); },
                  random_tensor<Shape<tokens, any_columns>>(3, 9, 5), random_tensor<Shape<any_columns>>(4, 5));
}

BOOST_AUTO_TEST_CASE(softmax_agrees_with_its_formula) {
  for (const long m : {0L, 1L, 4L})
    for (const long n : {1L, 7L, 33L}) {
      auto x = random_tensor<Shape<tokens, any_columns>>(1, m, n);
      for (double& e : x.span()) e = 300 + 50 * e;  // exp of it alone would overflow a float
      const auto y = compile([](X a) { return softmax(a); })(x);
      for (long i = 0; i < m; ++i) {
        double total = 0, sum = 0;
        for (long j = 0; j < n; ++j) total += std::exp(x(i, j) - 300);
        for (long j = 0; j < n; ++j) {
          BOOST_REQUIRE(std::abs(y(i, j) - std::exp(x(i, j) - 300) / total) < 1e-14);
          sum += y(i, j);
        }
        BOOST_TEST(std::abs(sum - 1) < 1e-13);
      }
    }
}

BOOST_AUTO_TEST_CASE(gradients_of_softmax) {
  const auto x = random_tensor<Shape<tokens, any_columns>>(1, 3, 5);
  expect_gradient([](X a) { return softmax(2.0 * a); }, x);
  expect_gradient(vjp<0>([](X a) { return softmax(a); }), x, random_tensor<Shape<tokens, any_columns>>(2, 3, 5));
}
