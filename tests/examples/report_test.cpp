#define BOOST_TEST_MODULE report
#include <boost/test/unit_test.hpp>
#include <linden/io/json_file.hpp>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"
#include "support/sweep.hpp"

namespace {
using namespace linden::test;
using nlohmann::json;

Ended run(std::vector<std::string> words) {
  words.insert(words.begin(), "report");
  return run_program(words);
}

std::string evaluation(double at_1, double at_2, const std::string& metric = "exact_match") {
  return json{{"metric", metric},           {"ranks", {1, 2}},
              {"values", {at_1, at_2}},     {"base", 0.125},
              {"aurac", (at_1 + at_2) / 2}, {"log_aurac", (at_1 + at_2) / 2}}
      .dump();
}

/// Two learning rates with two seeds, the last of which is not evaluated; and a single evaluation.
struct Files : TemporaryFolder {
  std::string sweep = (path() / "sweep").string(), single = file("single.json", evaluation(0.5, 0.25)).string();

  Files() {
    for (const double rate : {1e-4, 2e-4})
      for (const int seed : {1, 2}) {
        const std::string run = linden::text("sweep/lr", linden::examples::shortest(rate), "-seed", seed);
        file(run + "/run.json",
             json{{"settings", {{"learning_rate", rate}, {"seed", seed}}}, {"finished", true}}.dump());
        file(run + "/evaluation.json", evaluation(1000 * rate + 0.1 * seed, 0.75));
      }
    std::filesystem::remove(path() / "sweep/lr2e-04-seed2/evaluation.json");
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

BOOST_FIXTURE_TEST_CASE(a_sweep_is_a_table_of_its_learning_rates, Files) {
  const Ended ended = run({"--sweep", sweep});
  BOOST_TEST(ended.status == 0, ended.err);
  BOOST_TEST(ended.out ==
             "   lr  seeds  exact_match  rank 1  rank 2   AURAC  log-AURAC\n"
             "-----  -----  -----------  ------  ------  ------  ---------  ----\n"
             "1e-04      2  mean         0.2500  0.7500  0.5000     0.5000\n"
             "              deviation    0.0707  0.0000  0.0354     0.0354\n"
             "2e-04      1  mean         0.3000  0.7500  0.5250     0.5250  best\n"
             "              deviation         -       -       -          -\n"
             "base model: 0.1250; best learning rate by mean AURAC: 2e-04\n"
             "left out: " +
                 sweep + "/lr2e-04-seed2: has no evaluation.json\n");
}

BOOST_FIXTURE_TEST_CASE(a_curve_is_a_file_or_the_best_of_a_sweep, Files) {
  std::filesystem::remove_all(path() / "sweep/lr2e-04-seed1");
  const Ended ended = run({"--curve", "LoRA=" + single, "--curve", "DyLoRA=" + sweep});
  BOOST_TEST(ended.status == 0, ended.err);
  BOOST_TEST(ended.out ==
             "rank        base   LoRA  DyLoRA\n"
             "---------  -----  -----  -------------\n"
             "1          0.125  0.500  0.250 ± 0.071\n"
             "2          0.125  0.250  0.750 ± 0.000\n"
             "AURAC             0.375  0.500 ± 0.035\n"
             "log-AURAC         0.375  0.500 ± 0.035\n"
             "DyLoRA: lr 1e-04, the best of 1; mean ± standard deviation of 2 seeds\n"
             "DyLoRA: left out: " +
                 sweep + "/lr2e-04-seed2: has no evaluation.json\n");
}

BOOST_FIXTURE_TEST_CASE(curves_of_files_are_the_table_and_nothing_else, Files) {
  BOOST_TEST(run({"--curve", "a=b's=" + single}).status == 1);  // the first = ends the label
  BOOST_TEST(run({"--curve", "LoRA=" + single}).out ==
             "rank        base   LoRA\n"
             "---------  -----  -----\n"
             "1          0.125  0.500\n"
             "2          0.125  0.250\n"
             "AURAC             0.375\n"
             "log-AURAC         0.375\n");
}

BOOST_FIXTURE_TEST_CASE(machines_get_the_same_numbers, Files) {
  const auto output = path() / "report.json";
  const Ended ended = run({"--sweep", sweep, "--curve", "LoRA=" + single, "--json", output.string()});
  BOOST_TEST(ended.status == 0, ended.err);
  const json found = json::parse(content_of(output));
  const json& summary = found.at("sweeps").at(0);
  BOOST_TEST(summary.at("sweep") == sweep);
  BOOST_TEST(summary.at("best_learning_rate") == 2e-4);
  BOOST_TEST(summary.at("learning_rates").size() == 2U);
  BOOST_TEST(summary.at("missing").size() == 1U);
  BOOST_TEST(found.at("curves").at(0).at("label") == "LoRA");
  BOOST_TEST(found.at("curves").at(0).at("values") == json({0.5, 0.25}));
}

BOOST_FIXTURE_TEST_CASE(the_best_file_depends_on_what_is_measured, Files) {
  const auto better = file("better.json", evaluation(0.5, 0.5)).string();
  BOOST_TEST(run({"--best", single, better}).out == better + "\n");
  const auto low = file("low.json", evaluation(1, 2, "loss")).string();
  const auto high = file("high.json", evaluation(2, 2, "loss")).string();
  BOOST_TEST(run({"--best", high, low}).out == low + "\n");
}

BOOST_FIXTURE_TEST_CASE(command_lines_that_make_no_sense_are_refused, Files) {
  const auto refuses = [](const std::vector<std::string>& words, int status, const std::string& message) {
    const Ended ended = run(words);
    BOOST_TEST(ended.status == status);
    BOOST_TEST(contains(ended.err, message), "'" << ended.err << "' lacks '" << message << "'");
  };
  const auto loss = file("loss.json", evaluation(1, 2, "loss")).string();
  refuses({}, 2, "nothing to do: give --curve, --sweep or --best");
  refuses({"--curve", single}, 2, "expected LABEL=FILE or LABEL=DIR");
  refuses({"--curve", "a=" + single, "--curve", "b=" + loss}, 2, "other ranks or another metric than the first");
  refuses({"--sweep", sweep, "--best", single}, 2, "excludes");
  refuses({"--sweep", sweep, "--svg", "x.svg"}, 2, "--svg requires --curve");
  refuses({"--sweep", (path() / "none").string()}, 1, "none: is not a directory");
  refuses({"--sweep", sweep, "--evaluation", "test.json"}, 1, "has a file test.json");
}
