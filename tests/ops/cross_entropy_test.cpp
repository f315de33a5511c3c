#define BOOST_TEST_MODULE cross_entropy
#include <linden/ops/cross_entropy.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;

using X = Expr<Shape<tokens, 3>>;
using W = Expr<Shape<vocabulary, 3>>;
using Targets = Ids<Shape<tokens>>;
using Scale = Expr<Shape<>>;
constexpr auto loss = [](X x, W head, Targets targets, Scale scale) {
  return head_cross_entropy(x, head, targets, scale);
};
constexpr auto scores = [](X x, W head, Targets targets) { return head_scores(x, head, targets); };

Tensor<std::int32_t, Shape<tokens>> targets_of(const std::vector<std::int32_t>& values) {
  Tensor<std::int32_t, Shape<tokens>> ids(values.size());
  std::ranges::copy(values, ids.span().begin());
  return ids;
}
/// Every `ignored`-th token has no target.
Tensor<std::int32_t, Shape<tokens>> some_targets(long n, long V, long ignored) {
  Tensor<std::int32_t, Shape<tokens>> ids(n);
  for (long t = 0; t < n; ++t) ids[t] = t % ignored == 0 ? -100 : std::int32_t((7 * t) % V);
  return ids;
}
auto number(double value) {
  Tensor<double, Shape<>> s;
  s[0] = value;
  return s;
}

/// {cross-entropy, correct} of token t.
std::pair<double, bool> by_definition(const Tensor<double, Shape<tokens, 3>>& x,
                                      const Tensor<double, Shape<vocabulary, 3>>& head, long t, long target) {
  double total = 0, wanted = 0, highest = -1e300;
  long best = 0;
  for (long r = 0; r < head.rows(); ++r) {
    double logit = 0;
    for (long j = 0; j < 3; ++j) logit += x(t, j) * head(r, j);
    if (r == target) wanted = logit;
    if (logit > highest) highest = logit, best = r;
    total += std::exp(logit);
  }
  return {std::log(total) - wanted, best == target};
}

void check_against_definition(long n, long V, long ignored) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, n);
  const auto head = random_tensor<Shape<vocabulary, 3>>(2, V);
  const auto targets = some_targets(n, V, ignored);
  const auto y = compile(loss)(x, head, targets, number(0.5));
  const auto [losses, correct] = compile(scores)(x, head, targets);
  double sum = 0;
  for (long t = 0; t < n; ++t) {
    if (targets[t] < 0) {
      BOOST_REQUIRE(losses[t] == 0);
      BOOST_REQUIRE(correct[t] == 0);
      continue;
    }
    const auto [expected, best] = by_definition(x, head, t, targets[t]);
    sum += expected;
    BOOST_REQUIRE(std::abs(losses[t] - expected) < 1e-12);
    BOOST_REQUIRE(correct[t] == (best ? 1 : 0));
  }
  BOOST_TEST(std::abs(y[0] - 0.5 * sum) < 1e-12 * double(n + 1));
}
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_definition) {
  check_against_definition(0, 5, 2);
  check_against_definition(1, 1, 2);
  check_against_definition(2, 17, 2);
  check_against_definition(1100, 5, 3);    // chunks of 512 tokens
  check_against_definition(105, 9000, 3);  // chunks of 32 tokens
  check_against_definition(65, 9000, 65);  // 64 targets: the last chunk is full
}

BOOST_AUTO_TEST_CASE(gradients) {
  expect_gradient(loss, random_tensor<Shape<tokens, 3>>(1, 5), random_tensor<Shape<vocabulary, 3>>(2, 6),
                  targets_of({2, -100, 0, 5, -1}), number(0.7));
  expect_gradient(loss, random_tensor<Shape<tokens, 3>>(1, 1), random_tensor<Shape<vocabulary, 3>>(2, 6),
                  targets_of({3}), number(0.7));
  expect_gradient(
      [](Frozen<X> x, W head, Targets targets, Frozen<Scale> scale) {
        return hadamard(Scale(scale), head_cross_entropy(X(x), head, targets, Scale(scale)));
      },
      random_tensor<Shape<tokens, 3>>(1, 4), random_tensor<Shape<vocabulary, 3>>(2, 6), targets_of({2, 1, 0, 5}),
      number(0.7));
}

BOOST_AUTO_TEST_CASE(gradients_across_chunks) {
  // The gradient is the sum of those of the parts, whatever the chunks are.
  const long n = 70, V = 9000;
  const auto x = random_tensor<Shape<tokens, 3>>(1, n);
  const auto head = random_tensor<Shape<vocabulary, 3>>(2, V);
  const auto targets = some_targets(n, V, 7);
  const auto f = grad<0, 1>(loss);
  const auto [dx, dw] = f(x, head, targets, number(2));
  Tensor<double, Shape<vocabulary, 3>> sum(V);
  double worst = 0;
  for (long t = 0; t < n; ++t) {
    Tensor<double, Shape<tokens, 3>> row(1);
    for (long j = 0; j < 3; ++j) row[j] = x(t, j);
    const auto [dx_row, dw_row] = f(row, head, targets_of({targets[t]}), number(2));
    for (long j = 0; j < 3; ++j) worst = std::max(worst, std::abs(dx_row[j] - dx(t, j)));
    for (long i = 0; i < 3 * V; ++i) sum[i] += dw_row[i];
  }
  for (long i = 0; i < 3 * V; ++i) worst = std::max(worst, std::abs(sum[i] - dw[i]));
  BOOST_TEST(worst < 1e-13);
}

BOOST_AUTO_TEST_CASE(no_targets_no_loss) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 4);
  const auto head = random_tensor<Shape<vocabulary, 3>>(2, 6);
  const auto [y, gradients] = value_and_grad<0, 1, 3>(loss)(x, head, targets_of({-100, -1, -100, -100}), number(1));
  BOOST_TEST(y[0] == 0);
  const auto& [dx, dw, ds] = gradients;
  for (const double g : dx.span()) BOOST_TEST(g == 0);
  for (const double g : dw.span()) BOOST_TEST(g == 0);
  BOOST_TEST(ds[0] == 0);
}

BOOST_AUTO_TEST_CASE(ties_go_to_the_lowest_id_and_large_logits_do_not_overflow) {
  Tensor<float, Shape<tokens, 3>> x(2);
  Tensor<float, Shape<vocabulary, 3>> head(3);
  x(0, 0) = x(1, 0) = 100;
  head(0, 0) = -5, head(1, 0) = 50, head(2, 0) = 50;  // logits -500, 5000, 5000
  const auto [losses, correct] = compile(scores)(x, head, targets_of({1, 2}));
  BOOST_TEST(correct[0] == 1);
  BOOST_TEST(correct[1] == 0);
  for (long t = 0; t < 2; ++t) BOOST_TEST(std::abs(losses[t] - std::log(2.0F)) < 1e-3F);
}

BOOST_AUTO_TEST_CASE(targets_outside_the_vocabulary_are_refused) {
  BOOST_CHECK_EXCEPTION(compile(loss)(random_tensor<Shape<tokens, 3>>(1, 2), random_tensor<Shape<vocabulary, 3>>(2, 6),
                                      targets_of({0, 6}), number(1)),
                        ShapeError, [](const ShapeError& e) {
                          return std::string(e.what()) ==
                                 "linden::head_cross_entropy: id 6 at position 1 lies outside the vocabulary of 6";
                        });
}

// logits = x I^T: the golden values are of cross-entropy alone.
namespace {
template <class T>
void check_golden(double tolerance) {
  const auto g = golden("ops.json").at("cross_entropy");
  const auto logits = g.at("inputs").at("logits");
  BOOST_REQUIRE_EQUAL(logits.at("shape"), nlohmann::json({5, 11}));
  Tensor<T, Shape<5, 11>> x;
  for (long i = 0; i < 55; ++i) x[i] = logits.at("data").at(std::size_t(i)).template get<T>();
  Tensor<T, Shape<11, 11>> identity;
  for (long i = 0; i < 11; ++i) identity(i, i) = 1;
  const auto labels = g.at("params").at("labels").template get<std::vector<std::int32_t>>();
  Tensor<std::int32_t, Shape<5>> targets;
  std::ranges::copy(labels, targets.span().begin());
  Tensor<T, Shape<>> scale;
  scale[0] = T(1) / T(std::ranges::count_if(labels, [](auto l) { return l >= 0; }));
  const auto [y, dx] = value_and_grad<0>(
      [](Expr<Shape<5, 11>> a, Frozen<Expr<Shape<11, 11>>> w, Ids<Shape<5>> t, Frozen<Expr<Shape<>>> s) {
        return head_cross_entropy(a, Expr<Shape<11, 11>>(w), t, Expr<Shape<>>(s));
      })(x, identity, targets, scale);
  BOOST_TEST(relative_error(double(y[0]), g.at("y").at("data").at(0).template get<double>()) < tolerance);
  auto expected = g.at("grads").at("logits").template get<std::vector<double>>();
  for (double& e : expected) e /= g.at("dy").at(0).template get<double>();
  BOOST_TEST(relative_l2(std::vector<T>(dx.span().begin(), dx.span().end()), expected) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_values_in_double) { check_golden<double>(1e-10); }
BOOST_AUTO_TEST_CASE(golden_values_in_float) { check_golden<float>(1e-5); }
