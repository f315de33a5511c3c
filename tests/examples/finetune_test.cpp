#define BOOST_TEST_MODULE finetune
#include <boost/test/unit_test.hpp>
#include <linden/io/json_file.hpp>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden::test;
using nlohmann::json;
const auto here = boost::unit_test::precondition(needs_shared("models/stories260K"));

struct Folder : TemporaryFolder {
  std::string data = file("train.jsonl", R"({"question": "How many?", "answer": "4"}
{"question": "How few?", "answer": "2"}
{"question": "How come?", "answer": "So"}
)")
                         .string();
  std::filesystem::path output = path() / "out";

  [[nodiscard]] Ended run(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"finetune", "--model",  (shared_folder() / "models/stories260K").string(),
                                   "--data",   data,       "--output",
                                   output,     "--rank",   "2",
                                   "--batch",  "2",        "--accumulate",
                                   "1",        "--epochs", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
  [[nodiscard]] json record(const std::string& run = "") const {
    return json::parse(content_of(output / run / "run.json"));
  }
  [[nodiscard]] std::string weights(const std::string& run = "") const {
    return content_of(output / run / "adapter_model.safetensors");
  }
};

long lines(const std::filesystem::path& file) {
  const std::string content = content_of(file);
  return std::count(content.begin(), content.end(), '\n');
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

BOOST_FIXTURE_TEST_CASE(one_run_goes_straight_into_its_folder, Folder, *here) {
  const Ended ended = run({"--lr", "1e-3", "--adapter", "stratified"});
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  BOOST_TEST(ended.out == "");
  BOOST_TEST(lines(output / "metrics.jsonl") == 2);
  BOOST_TEST(std::filesystem::exists(output / "adapter_config.json"));
  const json found = record();
  BOOST_TEST(found.at("finished") == true);
  const json& settings = found.at("settings");
  BOOST_TEST(settings.at("learning_rate") == 1e-3);
  BOOST_TEST(settings.at("seed") == 42);
  BOOST_TEST(settings.at("steps") == 2);
  BOOST_TEST(settings.at("data").at("rows") == 3);
  BOOST_TEST(settings.at("data").at("path") == data);
  BOOST_TEST(settings.at("adapter") == json({{"kind", "stratified"},
                                             {"rank", 2},
                                             {"train_ranks", {1, 2}},
                                             {"scaling", "none"},
                                             {"initialisation", "reference"},
                                             {"rank_weights", "aurac"}}));
  BOOST_TEST(found.at("totals").at("steps") == 2);
  BOOST_TEST(found.at("totals").at("epochs") == 1.0);
  BOOST_TEST(found.at("totals").at("tokens").get<long>() > 0);
}

BOOST_FIXTURE_TEST_CASE(a_grid_makes_the_runs_that_each_would_be_alone, Folder, *here) {
  const Ended ended = run({"--lr", "1e-3,2e-3", "--seed", "1,2"});
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  for (const char* name : {"lr 0.001 seed 1  ", "lr 0.002 seed 1  ", "lr 0.001 seed 2  ", "lr 0.002 seed 2  "})
    BOOST_TEST(contains(ended.out, name), name);
  const std::string grid = weights("lr0.002-seed1");
  BOOST_TEST(grid != weights("lr0.001-seed1"));
  BOOST_TEST(grid != weights("lr0.002-seed2"));
  output = path() / "alone";
  BOOST_REQUIRE(run({"--lr", "2e-3", "--seed", "1"}).status == 0);
  BOOST_TEST((weights() == grid));
}

BOOST_FIXTURE_TEST_CASE(steps_that_are_not_finite_end_their_run_and_no_other, Folder, *here) {
  const Ended ended = run({"--lr", "1e30,1e-3", "--steps", "9", "--bad-steps", "2"});
  BOOST_TEST(ended.status == 3);
  const auto bad = output / "lr1e+30-seed42";
  BOOST_TEST(contains(ended.err, bad.string() + ": ended at step "), ended.err);
  BOOST_TEST(record("lr1e+30-seed42").at("finished") == false);
  BOOST_TEST(!std::filesystem::exists(bad / "adapter_model.safetensors"));
  BOOST_TEST(record("lr0.001-seed42").at("finished") == true);
  std::istringstream metrics(content_of(bad / "metrics.jsonl"));
  std::size_t not_applied = 0;
  for (std::string line; std::getline(metrics, line);) {
    const json step = json::parse(line);
    BOOST_TEST(step.contains("rows") == step.contains("applied"));
    if (!step.contains("applied")) continue;
    ++not_applied;
    for (const json& row : step.at("rows")) BOOST_TEST((row >= 1 && row <= 3));
  }
  BOOST_TEST(not_applied == 2U);
}

BOOST_FIXTURE_TEST_CASE(what_is_finished_is_skipped_and_the_rest_starts_over, Folder, *here) {
  BOOST_REQUIRE(run({"--lr", "1e-3,2e-3"}).status == 0);
  const auto first = output / "lr0.001-seed42", second = output / "lr0.002-seed42";
  const auto made = std::filesystem::last_write_time(first / "adapter_model.safetensors");
  const std::string before = weights("lr0.002-seed42");
  json interrupted = record("lr0.002-seed42");  // as a kill between two steps leaves it
  interrupted["finished"] = false;
  interrupted.erase("totals");
  linden::write_json(second / "run.json", interrupted);
  std::filesystem::remove(second / "adapter_model.safetensors");
  std::ofstream(second / "metrics.jsonl") << "{\"step\":1}\n{\"st";
  const Ended ended = run({"--lr", "1e-3,2e-3"});
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  BOOST_TEST(contains(ended.err, first.string() + ": is finished, skipped\n"));
  BOOST_TEST(!contains(ended.err, second.string() + ": is finished"));
  BOOST_TEST((std::filesystem::last_write_time(first / "adapter_model.safetensors") == made));
  BOOST_TEST(lines(second / "metrics.jsonl") == 2);
  BOOST_TEST((weights("lr0.002-seed42") == before));
  BOOST_TEST(record("lr0.002-seed42").at("finished") == true);
  const Ended again = run({"--lr", "1e-3,2e-3"});
  BOOST_TEST(again.status == 0);
  BOOST_TEST(contains(again.err, second.string() + ": is finished, skipped\n"));
}

BOOST_FIXTURE_TEST_CASE(other_settings_are_refused_before_anything_is_made, Folder, *here) {
  BOOST_REQUIRE(run({"--lr", "1e-3,2e-3"}).status == 0);
  const std::string before = weights("lr0.001-seed42");
  const auto refuses = [&](const std::vector<std::string>& more, const std::string& message) {
    const Ended ended = run(more);
    BOOST_TEST(ended.status == 2);
    BOOST_TEST(contains(ended.err, message), "'" << ended.err << "' lacks '" << message << "'");
    BOOST_TEST((weights("lr0.001-seed42") == before));
    BOOST_TEST(!std::filesystem::exists(output / "lr0.003-seed42"));
  };
  refuses({"--lr", "3e-3,2e-3", "--scaling", "sqrt"}, "adapter.scaling \"none\" there, \"sqrt\" here");
  refuses({"--lr", "3e-3,2e-3", "--steps", "5"}, "steps 2 there, 5 here");
  refuses({"--lr", "3e-3,2e-3", "--limit", "2"}, "data.rows 3 there, 2 here; steps 2 there, 1 here");
  refuses({"--lr", "1e-3"}, "holds a sweep");
  refuses({"--lr", "1e-3,1e-3"}, "--lr: 0.001 is given twice");
  refuses({"--lr", "0"}, "--lr: 0 is not a number above 0");
  refuses({"--lr", "x"}, "--lr: \"x\" in \"x\" is not a number");
  refuses({"--seed", "-1"}, "--seed: -1 is negative");
}

BOOST_FIXTURE_TEST_CASE(other_data_of_the_same_size_are_noticed, Folder, *here) {
  BOOST_REQUIRE(run({}).status == 0);
  std::string content = content_of(data);
  content.replace(content.find("\"4\""), 3, "\"5\"");
  file("train.jsonl", content);
  const Ended ended = run({});
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(contains(ended.err, "other settings: data.fingerprint "), ended.err);
}
