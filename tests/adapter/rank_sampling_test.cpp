#define BOOST_TEST_MODULE rank_sampling
#include <linden/adapter/rank_sampling.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/eval/aurac.hpp>
#include <vector>

using namespace linden;
using Kind = RankWeighting::Kind;

namespace {

void expect_refusal(auto action, const std::string& part) {
  BOOST_CHECK_EXCEPTION(action(), UsageError, [&](const UsageError& error) {
    const bool found = std::string(error.what()).find(part) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("found: " << error.what() << "\nexpected: ..." << part);
    return found;
  });
}

void expect_close(const std::vector<double>& found, const std::vector<double>& expected) {
  BOOST_REQUIRE_EQUAL(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) BOOST_CHECK_SMALL(found[i] - expected[i], 1e-15);
}

}  // namespace

BOOST_AUTO_TEST_CASE(dylora_draws_as_python_does) {
  UniformRanks six(RankSet::powers_of_two(32), 42);
  for (const int index : {5, 0, 0, 5, 2, 1, 1, 1, 5, 0, 5, 5, 4, 0, 4, 3}) BOOST_TEST(six.next() == 1 << index);
  UniformRanks nine(RankSet::powers_of_two(256), 42);
  for (const int index : {1, 0, 4, 3, 3, 2, 1, 8, 1, 6, 0, 0, 1, 3, 3, 8}) BOOST_TEST(nine.next() == 1 << index);
  UniformRanks one(RankSet{7}, 42);
  for (int i = 0; i < 5; ++i) BOOST_TEST(one.next() == 7);
}

BOOST_AUTO_TEST_CASE(probabilities_of_each_kind) {
  const RankSet ranks{1, 2, 4, 8};
  expect_close(rank_probabilities(ranks, {}), {.25, .25, .25, .25});
  expect_close(rank_probabilities(ranks, {Kind::aurac, {}}), {1. / 14, 3. / 14, 6. / 14, 4. / 14});
  expect_close(rank_probabilities(ranks, {Kind::log_aurac, {}}), {1. / 6, 1. / 3, 1. / 3, 1. / 6});
  expect_close(rank_probabilities(ranks, {Kind::list, {1, 0, 2, 1}}), {.25, 0, .5, .25});
  for (const Kind kind : {Kind::uniform, Kind::aurac, Kind::log_aurac})
    expect_close(rank_probabilities(RankSet{5}, {kind, {}}), {1.0});
  expect_close(rank_probabilities(RankSet{5}, {Kind::list, {0.3}}), {1.0});
}

BOOST_AUTO_TEST_CASE(trapezoid_probabilities_give_the_metric_they_are_named_after) {
  const RankSet ranks{1, 3, 12, 16};
  const std::vector<double> values{12.5, 31, 38.25, 40.5};
  const auto mean = [&](Kind kind) {
    const auto w = rank_probabilities(ranks, {kind, {}});
    double sum = 0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += w[i] * values[i];
    return sum;
  };
  BOOST_CHECK_SMALL(mean(Kind::aurac) - aurac(ranks, values), 1e-12);
  BOOST_CHECK_SMALL(mean(Kind::log_aurac) - log_aurac(ranks, values), 1e-12);
}

BOOST_AUTO_TEST_CASE(weightings_read_back) {
  for (const char* name : {"uniform", "aurac", "log-aurac", "0.1,0.2,0.7", "1", "1e-05,3"})
    BOOST_TEST(to_string(RankWeighting::parse(name)) == name);
  BOOST_CHECK(RankWeighting::parse(" 0.5, 1 ") == (RankWeighting{Kind::list, {0.5, 1}}));
}

BOOST_AUTO_TEST_CASE(refuses_weightings_that_are_none) {
  const RankSet ranks{1, 2, 4};
  expect_refusal([] { (void)RankWeighting::parse("auroc"); },
                 "rank weighting \"auroc\": item 1 is \"auroc\"; expected uniform, aurac, log-aurac, or one number");
  expect_refusal([] { (void)RankWeighting::parse("0.1,,2"); }, "item 2 is \"\"");
  expect_refusal([] { (void)RankWeighting::parse("0.1,0.2x"); }, "item 2 is \"0.2x\"");
  expect_refusal([] { (void)RankWeighting::parse("list"); }, "item 1 is \"list\"");
  const auto probabilities = [&](std::vector<double> list) {
    return [&ranks, list] { (void)rank_probabilities(ranks, {Kind::list, list}); };
  };
  expect_refusal(probabilities({0.5, 0.5}), "2 weights for the 3 ranks 1,2,4; expected one weight a rank");
  expect_refusal(probabilities({1, -1, 1}), "the weight of rank 2 is -1");
  expect_refusal(probabilities({1, 1, std::nan("")}), "the weight of rank 4 is nan");
  expect_refusal(probabilities({INFINITY, 1, 1}), "the weight of rank 1 is inf");
  expect_refusal(probabilities({0, 0, 0}), "sum to 0");
  expect_refusal(probabilities({1e308, 1e308, 1e308}), "sum to inf");
}

BOOST_AUTO_TEST_CASE(every_batch_has_every_rank_as_often_as_its_probability_says) {
  const RankSet ranks{1, 2, 4, 8, 16};
  for (const char* name : {"uniform", "aurac", "log-aurac", "0,1,0,2.5,0"}) {
    const RankWeighting weighting = RankWeighting::parse(name);
    const auto w = rank_probabilities(ranks, weighting);
    for (const std::size_t n : {1U, 3U, 8U, 20U}) {
      StratifiedRanks sampler(ranks, weighting, 42);
      std::vector<int> batch(n, -1);
      std::vector<double> at_first(ranks.size());
      std::vector<double> in_all(ranks.size());
      constexpr int batches = 2000;
      for (int b = 0; b < batches; ++b) {
        sampler.next(batch);
        for (std::size_t k = 0; k < ranks.size(); ++k) {
          const auto count = static_cast<double>(std::count(batch.begin(), batch.end(), ranks[k]));
          BOOST_REQUIRE(std::abs(count - static_cast<double>(n) * w[k]) < 1.0);  // floor or ceiling
          in_all[k] += count;
          at_first[k] += batch[0] == ranks[k] ? 1.0 : 0.0;
        }
      }
      for (std::size_t k = 0; k < ranks.size(); ++k) {
        const double error = std::sqrt(w[k] * (1.0 - w[k]) / batches);
        BOOST_CHECK_SMALL(at_first[k] / batches - w[k], 4.0 * error + 1e-12);  // shuffled: no place is special
        BOOST_CHECK_SMALL(in_all[k] / batches / static_cast<double>(n) - w[k], 4.0 * error + 1e-12);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(stratified_ranks_are_a_function_of_the_seed) {
  const RankSet ranks{1, 2, 4, 8};
  StratifiedRanks first(ranks, {}, 1);
  StratifiedRanks again(ranks, {}, 1);
  StratifiedRanks other(ranks, {}, 2);
  std::vector<int> a(16);
  std::vector<int> b(16);
  std::vector<int> c(16);
  bool differs = false;
  for (int i = 0; i < 10; ++i) {
    first.next(a);
    again.next(b);
    other.next(c);
    BOOST_CHECK(a == b);
    differs = differs || a != c;
  }
  BOOST_TEST(differs);
  first.next(std::span<int>{});  // an empty batch is no error
  StratifiedRanks single(RankSet{3}, RankWeighting::parse("aurac"), 1);
  single.next(a);
  BOOST_TEST(std::count(a.begin(), a.end(), 3) == 16);
}
