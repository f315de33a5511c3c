#define BOOST_TEST_MODULE attention
#include <linden/ops/attention.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;

constexpr long heads = 4, kv_heads = 2, d = 3;
using Q = Shape<tokens, heads * d>;
using K = Shape<cached, kv_heads * d>;
using Spans = Tensor<std::int32_t, Shape<sequences, 4>>;
constexpr auto attend = [](Expr<Q> q, Expr<K> k, Expr<K> v, Ids<Shape<sequences, 4>> spans) {
  return attention<heads, kv_heads>(q, k, v, spans);
};

struct Row {
  std::int32_t first_query, queries, first_key, keys;
};
Spans spans_of(std::initializer_list<Row> rows) {
  Spans spans(rows.size());
  long s = 0;
  for (const Row& r : rows) {
    spans(s, 0) = r.first_query, spans(s, 1) = r.queries, spans(s, 2) = r.first_key, spans(s, 3) = r.keys;
    ++s;
  }
  return spans;
}

/// The definition, with the full matrix of scores.
Tensor<double, Q> by_definition(const Tensor<double, Q>& q, const Tensor<double, K>& k, const Tensor<double, K>& v,
                                const Spans& spans) {
  Tensor<double, Q> o(q.rows());
  for (long s = 0; s < spans.rows(); ++s)
    for (long i = 0; i < spans(s, 1); ++i)
      for (long head = 0; head < heads; ++head) {
        const long row = spans(s, 0) + i, visible = spans(s, 3) - spans(s, 1) + i + 1, kv = head / (heads / kv_heads);
        std::vector<double> p(static_cast<std::size_t>(visible));
        double total = 0;
        for (long j = 0; j < visible; ++j) {
          double score = 0;
          for (long c = 0; c < d; ++c) score += q(row, head * d + c) * k(spans(s, 2) + j, kv * d + c);
          total += p[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(double(d)));
        }
        for (long j = 0; j < visible; ++j)
          for (long c = 0; c < d; ++c)
            o(row, head * d + c) += p[static_cast<std::size_t>(j)] / total * v(spans(s, 2) + j, kv * d + c);
      }
  return o;
}

double error_of(const Spans& spans, long queries, long keys, double spread = 1) {
  auto q = random_tensor<Q>(1, queries);
  for (double& e : q.span()) e *= spread;
  const auto k = random_tensor<K>(2, keys), v = random_tensor<K>(3, keys);
  const auto found = compile(attend)(q, k, v, spans), expected = by_definition(q, k, v, spans);
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, std::abs(found.span()[i] - expected.span()[i]));
  return worst;
}
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_definition) {
  BOOST_TEST(error_of(spans_of({}), 0, 0) == 0);
  BOOST_TEST(error_of(spans_of({{0, 1, 0, 1}}), 1, 1) < 1e-14);
  BOOST_TEST(error_of(spans_of({{0, 5, 0, 5}, {5, 1, 5, 1}, {6, 3, 6, 3}}), 9, 9) < 1e-14);
  BOOST_TEST(error_of(spans_of({{0, 1, 0, 1}, {1, 0, 1, 0}, {1, 2, 1, 2}}), 3, 3) < 1e-14);  // an empty sequence
  BOOST_TEST(error_of(spans_of({{0, 31, 0, 31}, {31, 32, 31, 32}, {63, 33, 63, 33}}), 96, 96) < 1e-14);  // block edges
  BOOST_TEST(error_of(spans_of({{0, 70, 0, 70}}), 70, 70, 30) < 1e-13);  // nearly one-hot
}

BOOST_AUTO_TEST_CASE(decoding_reads_a_longer_cache) {
  BOOST_TEST(error_of(spans_of({{0, 1, 0, 7}, {1, 1, 10, 4}}), 2, 20) < 1e-14);
  BOOST_TEST(error_of(spans_of({{0, 3, 0, 40}, {3, 1, 0, 40}, {4, 2, 2, 2}}), 6, 40) < 1e-14);  // shared keys
}

BOOST_AUTO_TEST_CASE(gradients_of_packed_sequences) {
  expect_gradient(attend, random_tensor<Q>(1, 9), random_tensor<K>(2, 9), random_tensor<K>(3, 9),
                  spans_of({{0, 5, 0, 5}, {5, 1, 5, 1}, {6, 3, 6, 3}}));
  expect_gradient(attend, random_tensor<Q>(1, 34), random_tensor<K>(2, 34), random_tensor<K>(3, 34),
                  spans_of({{0, 34, 0, 34}}));
}

BOOST_AUTO_TEST_CASE(gradients_of_decoding_shaped_spans) {
  // Keys 7 to 9 and 14 belong to nobody: their gradient is zero.
  const auto spans = spans_of({{0, 2, 0, 7}, {2, 1, 10, 4}});
  expect_gradient(attend, random_tensor<Q>(1, 3), random_tensor<K>(2, 15), random_tensor<K>(3, 15), spans);
}

BOOST_AUTO_TEST_CASE(gradients_of_some_arguments_alone) {
  expect_gradient(
      [](Frozen<Expr<Q>> q, Expr<K> k, Frozen<Expr<K>> v, Ids<Shape<sequences, 4>> spans) {
        return attention<heads, kv_heads>(Expr<Q>(q), k, Expr<K>(v), spans);
      },
      random_tensor<Q>(1, 3), random_tensor<K>(2, 3), random_tensor<K>(3, 3), spans_of({{0, 3, 0, 3}}));
  expect_gradient([](Expr<Q> q, Frozen<Expr<K>> k, Expr<K> v,
                     Ids<Shape<sequences, 4>> spans) { return attention<heads, kv_heads>(q, Expr<K>(k), v, spans); },
                  random_tensor<Q>(1, 3), random_tensor<K>(2, 3), random_tensor<K>(3, 3), spans_of({{0, 3, 0, 3}}));
}

BOOST_AUTO_TEST_CASE(no_gradient_of_nothing) {
  const auto [dq, dk, dv] = vjp(attend)(random_tensor<Q>(1, 0), random_tensor<K>(2, 2), random_tensor<K>(3, 2),
                                        spans_of({}), random_tensor<Q>(4, 0));
  for (const double g : dk.span()) BOOST_TEST(g == 0);
  for (const double g : dv.span()) BOOST_TEST(g == 0);
}

BOOST_AUTO_TEST_CASE(spans_that_do_not_fit_are_refused) {
  const auto run = [](const Spans& spans) {
    return [&spans] { compile(attend)(random_tensor<Q>(1, 3), random_tensor<K>(2, 4), random_tensor<K>(3, 4), spans); };
  };
  const auto refused = [&](const Spans& spans, const std::string& message) {
    BOOST_CHECK_EXCEPTION(run(spans)(), ShapeError, [&](const ShapeError& e) { return e.what() == message; });
  };
  refused(spans_of({{0, 2, 0, 2}}), "linden::attention: the spans hold 2 queries, expected 3");
  const auto message = [](const char* sequence, const char* span, const char* why) {
    return std::string("linden::attention: sequence ") + sequence + " has the span {" + span +
           "} among 3 queries and 4 keys: " + why;
  };
  refused(spans_of({{0, 3, 2, 3}}), message("0 of 1", "0, 3, 2, 3", "its keys lie outside"));
  refused(spans_of({{0, 3, 0, 2}}),
          message("0 of 1", "0, 3, 0, 2", "it must see at least as many keys as it has queries"));
  refused(spans_of({{0, 1, 0, 1}, {2, 1, 1, 1}}),
          message("1 of 2", "2, 1, 1, 1", "its queries must follow those of the sequence before"));
  BOOST_CHECK_EXCEPTION(vjp(attend)(random_tensor<Q>(1, 3), random_tensor<K>(2, 4), random_tensor<K>(3, 4),
                                    spans_of({{0, 2, 0, 3}, {2, 1, 2, 2}}), random_tensor<Q>(4, 3)),
                        ShapeError, [&](const ShapeError& e) {
                          return e.what() ==
                                 message("1 of 2", "2, 1, 2, 2", "its keys must follow those of the sequence before");
                        });
}

namespace {
template <class T>
void check_golden(double tolerance) {
  const auto g = golden("ops.json").at("attention");
  BOOST_REQUIRE_EQUAL(g.at("inputs").at("q").at("shape"), nlohmann::json({5, 4, 4}));
  BOOST_REQUIRE_EQUAL(g.at("inputs").at("k").at("shape"), nlohmann::json({5, 2, 4}));
  const auto fill = [](auto tensor, const nlohmann::json& numbers) {
    for (long i = 0; i < long(tensor.size()); ++i) tensor[i] = numbers.at(std::size_t(i)).template get<T>();
    return tensor;
  };
  const auto input = [&](const char* name) { return g.at("inputs").at(name).at("data"); };
  const auto q = fill(Tensor<T, Shape<tokens, 16>>(5), input("q"));
  const auto k = fill(Tensor<T, Shape<tokens, 8>>(5), input("k")), v = fill(Tensor<T, Shape<tokens, 8>>(5), input("v"));
  const auto dy = fill(Tensor<T, Shape<tokens, 16>>(5), g.at("dy"));
  const auto f = [](Expr<Shape<tokens, 16>> a, Expr<Shape<tokens, 8>> b, Expr<Shape<tokens, 8>> c,
                    Ids<Shape<sequences, 4>> s) { return attention<4, 2>(a, b, c, s); };
  const auto spans = spans_of({{0, 5, 0, 5}});
  const auto error = [](const auto& found, const nlohmann::json& expected) {
    return relative_l2(std::vector<T>(found.span().begin(), found.span().end()), expected.get<std::vector<double>>());
  };
  BOOST_TEST(error(compile(f)(q, k, v, spans), g.at("y").at("data")) < tolerance);
  const auto [dq, dk, dv] = vjp(f)(q, k, v, spans, dy);
  BOOST_TEST(error(dq, g.at("grads").at("q")) < tolerance);
  BOOST_TEST(error(dk, g.at("grads").at("k")) < tolerance);
  BOOST_TEST(error(dv, g.at("grads").at("v")) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_values_in_double) { check_golden<double>(1e-10); }
BOOST_AUTO_TEST_CASE(golden_values_in_float) { check_golden<float>(1e-5); }
