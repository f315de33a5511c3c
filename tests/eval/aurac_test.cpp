#define BOOST_TEST_MODULE aurac
#include <linden/eval/aurac.hpp>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/golden.hpp"

using linden::aurac;
using linden::log_aurac;
using linden::UsageError;
using Ranks = std::vector<int>;
using Values = std::vector<double>;

namespace {

constexpr std::array<int, 4> four_ranks{1, 2, 4, 8};
constexpr std::array<double, 4> constant_curve{30, 30, 30, 30};
static_assert(aurac(four_ranks, constant_curve) == 30);

void expect_refusal(const Ranks& ranks, const Values& values, const std::string& part) {
  const auto says = [&](const UsageError& e) { return std::string(e.what()).find(part) != std::string::npos; };
  BOOST_CHECK_EXCEPTION((void)aurac(ranks, values), UsageError, says);
  BOOST_CHECK_EXCEPTION((void)log_aurac(ranks, values), UsageError, says);
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_reference) {
  const auto file = linden::test::golden("aurac.json");
  BOOST_REQUIRE(file["cases"].size() == 7);
  for (const auto& c : file["cases"]) {
    const auto ranks = c["ranks"].get<Ranks>();
    const auto values = c["accs"].get<Values>();
    BOOST_CHECK_SMALL(aurac(ranks, values) - c["aurac_v1"].get<double>(), 1e-12);
    BOOST_CHECK_SMALL(log_aurac(ranks, values) - c["aurac_v2"].get<double>(), 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(worked_examples) {
  BOOST_CHECK_SMALL(aurac(four_ranks, Values{10, 20, 30, 40}) - 29.285714286, 1e-9);
  BOOST_CHECK_SMALL(log_aurac(four_ranks, Values{10, 20, 30, 40}) - 25.0, 1e-12);
  BOOST_CHECK_SMALL(aurac(Ranks{1, 3, 12, 16}, Values{12.5, 31, 38.25, 40.5}) - 34.175, 1e-9);
  BOOST_CHECK_SMALL(log_aurac(Ranks{1, 3, 12, 16}, Values{12.5, 31, 38.25, 40.5}) - 30.016258981, 1e-9);
  BOOST_TEST(aurac(Ranks{8}, Values{37.5}) == 37.5);
  BOOST_TEST(log_aurac(Ranks{8}, Values{37.5}) == 37.5);
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_curve) {
  expect_refusal({}, {}, "there are no ranks");
  expect_refusal({1, 2}, {1}, "2 ranks but 1 values");
  expect_refusal({}, {1}, "0 ranks but 1 values");
  expect_refusal({2, 1}, {1, 2}, "rank 1 follows rank 2; ranks must be strictly ascending");
  expect_refusal({1, 1}, {1, 2}, "rank 1 follows rank 1");
  expect_refusal({0, 1}, {1, 2}, "rank 0 is not positive");
  expect_refusal({-4}, {1}, "rank -4 is not positive");
  expect_refusal({1, 2}, {1, std::nan("")}, "the value at rank 2 is nan");
  expect_refusal({3}, {std::numeric_limits<double>::infinity()}, "the value at rank 3 is inf");
}
