#define BOOST_TEST_MODULE examples_runs
#include "support/runs.hpp"

#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using namespace linden::test;
using nlohmann::json;

json settings(double rate = 1e-4, int seed = 42) {
  return {{"learning_rate", rate},
          {"seed", seed},
          {"adapter", {{"rank", 8}, {"train_ranks", {1, 2}}}},
          {"model", {{"path", "/somewhere"}, {"fingerprint", "12ab"}}}};
}

json record(double rate, int seed, bool finished = true) {
  return {{"settings", settings(rate, seed)}, {"finished", finished}};
}

struct Folder : TemporaryFolder {
  [[nodiscard]] std::filesystem::path run() const { return path() / "run"; }
  [[nodiscard]] RunState state(const json& wanted = settings()) const { return examine_run(run(), wanted); }
};
}  // namespace

BOOST_AUTO_TEST_CASE(differences_name_the_setting_and_both_values) {
  json other = settings(2e-4);
  BOOST_TEST(differing_settings(settings(), settings()) == "");
  BOOST_TEST(differing_settings(settings(), other) == "learning_rate 0.0001 there, 0.0002 here");
  other = settings();
  other["adapter"]["rank"] = 16;
  other["adapter"]["train_ranks"] = {1, 2, 4};
  other["model"]["fingerprint"] = "34cd";
  other["model"]["path"] = "/elsewhere";
  BOOST_TEST(differing_settings(settings(), other) ==
             "adapter.rank 8 there, 16 here; adapter.train_ranks [1,2] there, [1,2,4] here; "
             "model.fingerprint \"12ab\" there, \"34cd\" here");
  other = settings();
  other["batch"] = 4;
  BOOST_TEST(differing_settings(settings(), other) == "batch nothing there, 4 here");
  BOOST_TEST(differing_settings(other, settings()) == "batch 4 there, nothing here");
}

BOOST_AUTO_TEST_CASE(where_the_model_lies_is_no_setting) {
  json moved = settings();
  moved["model"]["path"] = "/elsewhere";
  BOOST_TEST(differing_settings(settings(), moved) == "");
}

BOOST_FIXTURE_TEST_CASE(a_run_is_fresh_then_unfinished_then_finished, Folder) {
  BOOST_TEST((state() == RunState::fresh));
  begin_run(run(), settings());
  BOOST_TEST((state() == RunState::unfinished));
  BOOST_TEST(read_run(run()).totals.is_null());
  finish_run(run(), settings(), {.steps = 3, .tokens = 500, .epochs = 0.75, .seconds = 2, .final_loss = 1.5});
  BOOST_TEST((state() == RunState::finished));
  const RunRecord found = read_run(run());
  BOOST_TEST(found.settings == settings());
  BOOST_TEST(found.learning_rate == 1e-4);
  BOOST_TEST(found.seed == 42U);
  BOOST_TEST(found.totals.at("steps") == 3);
  BOOST_TEST(found.totals.at("tokens") == 500);
  BOOST_TEST(found.totals.at("epochs") == 0.75);
  BOOST_TEST(found.totals.at("seconds") == 2.0);
  BOOST_TEST(found.totals.at("tokens_per_second") == 250.0);
  BOOST_TEST(found.totals.at("final_loss") == 1.5);
  BOOST_TEST(found.totals.at("peak_memory_bytes").get<double>() > 1 << 20);
}

BOOST_FIXTURE_TEST_CASE(beginning_again_starts_the_metrics_anew, Folder) {
  file("run/metrics.jsonl", "{}\n");
  begin_run(run(), settings());
  BOOST_TEST(!std::filesystem::exists(run() / "metrics.jsonl"));
}

BOOST_FIXTURE_TEST_CASE(a_loss_that_is_not_finite_becomes_null, Folder) {
  begin_run(run(), settings());
  finish_run(run(), settings(), {.final_loss = std::numeric_limits<double>::quiet_NaN()});
  BOOST_TEST(read_run(run()).totals.at("final_loss").is_null());
}

BOOST_FIXTURE_TEST_CASE(a_folder_with_other_settings_is_refused, Folder) {
  for (const bool finished : {false, true}) {
    const auto before = file("run/run.json", record(2e-4, 42, finished).dump());
    expect_refusal<UsageError>([&] { (void)state(); }, "run: holds a run with other settings: ",
                               "learning_rate 0.0002 there, 0.0001 here; give another folder");
    BOOST_TEST(content_of(before) == record(2e-4, 42, finished).dump());
  }
}

BOOST_FIXTURE_TEST_CASE(a_folder_of_unknown_origin_is_refused, Folder) {
  for (const char* name : {"adapter_model.safetensors", "adapter_config.json", "metrics.jsonl"}) {
    const auto there = file(std::string("run/") + name, "x");
    expect_refusal<UsageError>([&] { (void)state(); }, std::string("run: holds ") + name + " but no run.json");
    std::filesystem::remove(there);
  }
  file("run/notes.txt", "of no concern");
  BOOST_TEST((state() == RunState::fresh));
}

BOOST_FIXTURE_TEST_CASE(records_that_cannot_be_understood_are_refused, Folder) {
  const auto refuses = [&](const std::string& content, const char* message) {
    file("run/run.json", content);
    expect_refusal<DataError>([&] { (void)state(); }, "run.json", message);
  };
  refuses("{", "not JSON");
  refuses("[]", "expected an object");
  refuses("{}", "field 'settings': found nothing");
  refuses(R"({"settings": {"seed": 1}})", "field 'settings.learning_rate': found nothing, expected a finite number");
  refuses(R"({"settings": {"seed": 1, "learning_rate": 0}})", "expected a number above 0");
  refuses(R"({"settings": {"seed": -1, "learning_rate": 1}})", "field 'settings.seed': found -1");
  refuses(R"({"settings": {"seed": 1, "learning_rate": 1}, "finished": 1})", "expected true or false");
}

BOOST_FIXTURE_TEST_CASE(runs_are_listed_by_learning_rate_then_seed, Folder) {
  file("b/run.json", record(1e-4, 666).dump());
  file("a/run.json", record(1e-3, 42).dump());
  file("c/run.json", record(1e-4, 42, false).dump());
  file("c/deeper/run.json", record(1, 1).dump());
  file("other/notes.txt", "");
  file("run.txt", "");
  std::string list;
  for (const RunRecord& run : list_runs(path())) list += run.folder.filename().string() + (run.finished ? "+ " : "- ");
  BOOST_TEST(list == "c- b+ a+ ");
  BOOST_TEST(list_runs(path() / "a").size() == 1U);  // a run is a list of one
  BOOST_TEST(list_runs(path() / "other").empty());
  expect_refusal<DataError>([&] { (void)list_runs(path() / "none"); }, "none: is not a directory");
}
