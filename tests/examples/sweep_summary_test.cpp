#define BOOST_TEST_MODULE examples_sweep_summary
#include "support/sweep_summary.hpp"

#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using namespace linden::test;
using nlohmann::json;

struct Sweep : TemporaryFolder {
  /// A finished run with an evaluation at ranks 1 and 4.
  void run(double rate, int seed, double at_1, double at_4, const std::string& metric = "accuracy") const {
    const std::string name = text("lr", shortest(rate), "-seed", seed);
    const json record{{"settings", {{"learning_rate", rate}, {"seed", seed}, {"rank", 4}}}, {"finished", true}};
    file(name + "/run.json", record.dump());
    const json evaluation{{"metric", metric},           {"ranks", {1, 4}},  {"values", {at_1, at_4}}, {"base", 0.125},
                          {"aurac", (at_1 + at_4) / 2}, {"log_aurac", at_1}};
    file(name + "/evaluation.json", evaluation.dump());
  }
  [[nodiscard]] SweepSummary summary(const std::string& evaluation = "evaluation.json") const {
    return summarise_sweep(path(), evaluation);
  }
};

const auto nearly = boost::test_tools::tolerance(1e-12);
}  // namespace

BOOST_FIXTURE_TEST_CASE(each_learning_rate_is_a_mean_over_its_seeds, Sweep) {
  run(2e-4, 1, 0.5, 0.7);
  run(1e-4, 1, 0.25, 0.5);
  run(1e-4, 2, 0.5, 0.5);
  run(1e-4, 3, 0.75, 0.5);
  const SweepSummary found = summary();
  BOOST_REQUIRE(found.rates.size() == 2U);
  const RateSummary &low = found.rates[0], &high = found.rates[1];
  BOOST_TEST(low.learning_rate == 1e-4);
  BOOST_TEST(low.seeds == (std::vector<std::uint64_t>{1, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(low.mean.ranks == (std::vector<int>{1, 4}), boost::test_tools::per_element());
  BOOST_TEST(low.mean.values[0] == 0.5, nearly);
  BOOST_TEST(low.mean.deviations[0] == 0.25, nearly);
  BOOST_TEST(low.mean.deviations[1] == 0.0);
  BOOST_TEST(low.mean.aurac == 0.5, nearly);
  BOOST_TEST(low.mean.aurac_deviation == 0.125, nearly);
  BOOST_TEST(low.mean.log_aurac_deviation == 0.25, nearly);
  BOOST_TEST(low.mean.base == 0.125, nearly);
  BOOST_TEST(high.seeds.size() == 1U);
  BOOST_TEST(high.mean.aurac == 0.6, nearly);
  BOOST_TEST(std::isnan(high.mean.aurac_deviation));
  BOOST_TEST(found.best == 1U);
  BOOST_TEST(found.missing.empty());
}

BOOST_FIXTURE_TEST_CASE(the_best_loss_is_the_lowest_and_of_equals_the_first, Sweep) {
  run(1e-4, 1, 3, 3, "loss");
  run(2e-4, 1, 2, 2, "loss");
  run(3e-4, 1, 2, 2, "loss");
  BOOST_TEST(summary().best == 1U);
}

BOOST_FIXTURE_TEST_CASE(runs_that_do_not_count_are_named, Sweep) {
  run(1e-4, 1, 0.25, 0.5);
  run(1e-4, 2, 0.5, 0.5);
  run(2e-4, 1, 0.75, 0.5);
  std::filesystem::remove(path() / "lr1e-04-seed2/evaluation.json");
  auto record = read_json(path() / "lr2e-04-seed1/run.json");  // its evaluation is of an earlier attempt
  record["finished"] = false;
  write_json(path() / "lr2e-04-seed1/run.json", record);
  const SweepSummary found = summary();
  BOOST_TEST(found.rates.size() == 1U);
  BOOST_TEST(found.rates[0].seeds.size() == 1U);
  BOOST_REQUIRE(found.missing.size() == 2U);
  BOOST_TEST(found.missing[0] == (path() / "lr1e-04-seed2").string() + ": has no evaluation.json");
  BOOST_TEST(found.missing[1] == (path() / "lr2e-04-seed1").string() + ": not finished");
}

BOOST_FIXTURE_TEST_CASE(the_evaluation_can_have_another_name, Sweep) {
  run(1e-4, 1, 0.25, 0.5);
  expect_refusal<DataError>([&] { (void)summary("test.json"); },
                            "none of its 1 runs is finished and has a file test.json");
  std::filesystem::rename(path() / "lr1e-04-seed1/evaluation.json", path() / "lr1e-04-seed1/test.json");
  BOOST_TEST(summary("test.json").rates.size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_single_run_is_a_sweep_of_one, Sweep) {
  run(1e-4, 1, 0.25, 0.5);
  const SweepSummary found = summarise_sweep(path() / "lr1e-04-seed1", "evaluation.json");
  BOOST_TEST(best_curve(found, "one").label == "one");
  BOOST_TEST(best_curve(found, "one").values[1] == 0.5);
}

BOOST_FIXTURE_TEST_CASE(machines_get_null_for_what_is_not_known, Sweep) {
  run(1e-4, 1, 0.25, 0.5);
  run(2e-4, 1, 0.5, 0.5);
  run(2e-4, 2, 0.5, 1);
  const json found = summary_json(summary());
  BOOST_TEST(found.at("best_learning_rate") == 2e-4);
  const json& rates = found.at("learning_rates");
  BOOST_REQUIRE(rates.size() == 2U);
  BOOST_TEST(rates[0].at("deviations") == json({nullptr, nullptr}));
  BOOST_TEST(rates[0].at("aurac_deviation").is_null());
  BOOST_TEST(rates[1].at("learning_rate") == 2e-4);
  BOOST_TEST(rates[1].at("seeds") == json({1, 2}));
  BOOST_TEST(rates[1].at("values") == json({0.5, 0.75}));
  BOOST_TEST(rates[1].at("deviations")[1].get<double>() == std::sqrt(0.125), nearly);
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_compared_is_refused, Sweep) {
  const auto refuses = [&](const char* message) { expect_refusal<DataError>([&] { (void)summary(); }, message); };
  refuses("no run.json in it");
  run(1e-4, 1, 0.25, 0.5);
  run(1e-4, 2, 0.25, 0.5, "loss");
  refuses("lr1e-04-seed2/evaluation.json: has other ranks or another metric than ");
  run(1e-4, 2, 0.25, 0.5);
  auto record = read_json(path() / "lr1e-04-seed2/run.json");
  record["settings"]["rank"] = 8;
  write_json(path() / "lr1e-04-seed2/run.json", record);
  refuses("are not of one sweep: rank 4 there, 8 here");
  record["settings"]["rank"] = 4;
  record["settings"]["seed"] = 1;
  write_json(path() / "lr1e-04-seed2/run.json", record);
  refuses("have the same learning rate and seed");
  run(1e-4, 2, 0.25, 0.5);
  file("lr1e-04-seed2/evaluation.json", R"({"metric": "accuracy"})");
  refuses("evaluation.json: field 'ranks': found nothing, expected a list of ranks");
  file("lr1e-04-seed2/evaluation.json",
       R"({"metric": "accuracy", "ranks": [1, 4], "values": [1], "base": 0, "aurac": 0, "log_aurac": 0})");
  refuses("evaluation.json: 2 ranks but 1 values");
}
