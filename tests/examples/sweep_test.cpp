#define BOOST_TEST_MODULE examples_sweep
#include "support/sweep.hpp"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using namespace linden::test;

constexpr const char* run_json = R"({"settings": {"learning_rate": 1e-4, "seed": 42}, "finished": true})";

void refuses(const std::vector<double>& rates, const std::vector<long>& seeds, const char* message) {
  expect_refusal<UsageError>([&] { (void)sweep_runs(rates, seeds, "out"); }, message);
}
}  // namespace

BOOST_AUTO_TEST_CASE(numbers_have_the_fewest_digits_that_read_back) {
  BOOST_TEST(shortest(5e-5) == "5e-05");
  BOOST_TEST(shortest(1e-4) == "1e-04");
  BOOST_TEST(shortest(2e-3) == "0.002");
  BOOST_TEST(shortest(1.2e-2) == "0.012");
  BOOST_TEST(shortest(0.1 + 0.2) == "0.30000000000000004");
}

BOOST_AUTO_TEST_CASE(a_grid_goes_through_the_rates_of_a_seed_first) {
  const auto runs = sweep_runs({5e-5, 8e-5}, {42, 666}, "out");
  BOOST_REQUIRE(runs.size() == 4U);
  BOOST_TEST(runs[0].folder == "out/lr5e-05-seed42");
  BOOST_TEST(runs[1].folder == "out/lr8e-05-seed42");
  BOOST_TEST(runs[2].folder == "out/lr5e-05-seed666");
  BOOST_TEST(runs[3].folder == "out/lr8e-05-seed666");
  BOOST_TEST(runs[1].title() == "lr 8e-05 seed 42");
  BOOST_TEST(runs[3].learning_rate == 8e-5);
  BOOST_TEST(runs[3].seed == 666U);
  BOOST_TEST(sweep_runs({5e-5}, {1, 2}, "out")[1].folder == "out/lr5e-05-seed2");
}

BOOST_AUTO_TEST_CASE(one_rate_and_one_seed_are_no_grid) {
  const auto runs = sweep_runs({5e-5}, {42}, "out");
  BOOST_REQUIRE(runs.size() == 1U);
  BOOST_TEST(runs[0].folder == "out");
}

BOOST_AUTO_TEST_CASE(values_that_make_no_sense_are_refused) {
  refuses({1e-4, 0}, {42}, "--lr: 0 is not a number above 0");
  refuses({-1e-4}, {42}, "--lr: -0.0001 is not a number above 0");
  refuses({std::numeric_limits<double>::quiet_NaN()}, {42}, "--lr: nan is not");
  refuses({std::numeric_limits<double>::infinity()}, {42}, "--lr: inf is not");
  refuses({1e-4}, {42, -1}, "--seed: -1 is negative");
  refuses({1e-4, 2e-4, 1e-4}, {42}, "--lr: 0.0001 is given twice");
  refuses({1e-4}, {42, 42}, "--seed: 42 is given twice");
  refuses({}, {42}, "--lr: expected at least one value");
}

BOOST_AUTO_TEST_CASE(a_run_and_a_grid_do_not_share_a_folder) {
  const TemporaryFolder folder;
  folder.file("single/run.json", run_json);
  folder.file("grid/lr1e-04-seed42/run.json", run_json);
  const auto single = folder.path() / "single", grid = folder.path() / "grid";
  expect_refusal<UsageError>(
      [&] {
        (void)sweep_runs({1e-4, 2e-4}, {42}, single);
      },
      "single: holds a single run, not a sweep");
  expect_refusal<UsageError>([&] { (void)sweep_runs({1e-4}, {42}, grid); },
                             "grid: holds a sweep, of which one run is lr1e-04-seed42");
  BOOST_TEST(sweep_runs({1e-4}, {42}, single).size() == 1U);
  BOOST_TEST(sweep_runs({1e-4, 2e-4}, {42}, grid).size() == 2U);
}
