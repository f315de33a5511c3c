#define BOOST_TEST_MODULE finetune
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <linden/io/json_file.hpp>
#include <map>
#include <random>
#include <sstream>
#include <thread>
#include <tuple>

#include "examples/run_program.hpp"
#include "examples/small_disk.hpp"
#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden::test;
using nlohmann::json;
const auto here = boost::unit_test::precondition(needs_shared("models/stories260K"));
const auto may_mount = boost::unit_test::precondition(can_mount);

struct Folder : TemporaryFolder {
  std::string data = file("train.jsonl", R"({"question": "How many?", "answer": "4"}
{"question": "How few?", "answer": "2"}
{"question": "How come?", "answer": "So"}
)")
                         .string();
  std::filesystem::path output = path() / "out";

  [[nodiscard]] std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"finetune", "--model",  (shared_folder() / "models/stories260K").string(),
                                   "--data",   data,       "--output",
                                   output,     "--rank",   "2",
                                   "--batch",  "2",        "--epochs",
                                   "1"};
    if (std::ranges::find(more, "--accumulate") == more.end()) words.insert(words.end(), {"--accumulate", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] Ended run(const std::vector<std::string>& more) const { return run_program(words(more)); }
  /// The metrics without what differs from run to run.
  [[nodiscard]] std::vector<json> metrics() const {
    std::vector<json> records;
    std::istringstream all(content_of(output / "metrics.jsonl"));
    for (std::string line; std::getline(all, line);) records.push_back(json::parse(line)), records.back().erase("seconds");
    return records;
  }
  [[nodiscard]] json record(const std::string& run = "") const {
    return json::parse(content_of(output / run / "run.json"));
  }
  [[nodiscard]] std::string weights(const std::string& run = "") const {
    return content_of(output / run / "adapter_model.safetensors");
  }
};

long lines(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return 0;
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
  output = bad;
  std::size_t not_applied = 0;
  for (const json& step : metrics()) {
    BOOST_TEST(step.contains("rows") == step.contains("applied"));
    if (!step.contains("applied")) continue;
    ++not_applied;
    for (const json& row : step.at("rows")) BOOST_TEST((row >= 1 && row <= 3));
  }
  BOOST_TEST(not_applied == 2U);
}

// ---- stopped and gone on ---------------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_signal_saves_the_state_and_the_run_goes_on_with_the_same_bits, Folder, *here) {
  for (const char* kind : {"lora", "dylora", "matryoshka", "stratified"}) {
    const std::vector<std::string> options{"--adapter", kind, "--accumulate", "2", "--steps", "150", "--save-every", "0", "--resume"};
    ::setenv("OMP_NUM_THREADS", "2", 1);
    output = path() / kind / "whole";
    BOOST_REQUIRE(run(options).status == 0);
    const std::string expected = weights();
    const auto expected_metrics = metrics();
    output = path() / kind / "stopped";
    int stops = 0;
    for (const auto& [steps, signal, threads] : {std::tuple(1, SIGTERM, "1"), std::tuple(20, SIGINT, "2"), std::tuple(40, SIGTERM, "1")}) {
      ::setenv("OMP_NUM_THREADS", threads, 1);
      const RunningProgram running(words(options));
      while (lines(output / "metrics.jsonl") < steps) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      running.kill(signal);
      const Ended ended = running.wait();
      if (ended.status == 0) break;  // on a machine so fast that it had finished
      ++stops;
      BOOST_TEST(ended.status == 4, ended.err);
      BOOST_TEST(contains(ended.err, "its state is saved, the same command with --resume goes on\n"), ended.err);
      BOOST_TEST(record().at("finished") == false);
    }
    ::unsetenv("OMP_NUM_THREADS");
    BOOST_REQUIRE(run(options).status == 0);
    BOOST_TEST(stops >= 2);
    BOOST_TEST((weights() == expected), kind);
    BOOST_TEST((metrics() == expected_metrics), kind);
    BOOST_TEST(!std::filesystem::exists(output / "state"));
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_survives_a_hundred_kills, Folder, *here) {
  const std::vector<std::string> options{"--adapter", "dylora", "--steps", "12", "--save-every", "1", "--resume"};
  output = path() / "whole";
  const auto begin = std::chrono::steady_clock::now();
  BOOST_REQUIRE(run(options).status == 0);
  const std::chrono::duration<double> whole_time = std::chrono::steady_clock::now() - begin;
  const std::string expected = weights();
  const auto expected_metrics = metrics();
  std::mt19937 random(7);
  int runs = 0, kills = 0;
  output = path() / "run0";
  for (int k = 0; k < 100; ++k) {
    const RunningProgram running(words(options));
    std::this_thread::sleep_for(std::min(whole_time, std::chrono::duration<double>(0.4)) * (static_cast<double>(random() % 1000) / 1000));
    running.kill(SIGKILL);
    const Ended ended = running.wait();
    BOOST_REQUIRE_MESSAGE(ended.status == 0 || ended.status == -SIGKILL, ended.err);
    if (ended.status == -SIGKILL) {
      ++kills;
      continue;
    }
    BOOST_REQUIRE((weights() == expected));
    BOOST_REQUIRE((metrics() == expected_metrics));
    output = path() / ("run" + std::to_string(++runs));
  }
  BOOST_TEST(kills > 20);  // the others were done before
  BOOST_TEST_MESSAGE(kills << " kills, " << runs << " runs finished between them");
  const Ended ended = run(options);
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  BOOST_TEST((weights() == expected));
  BOOST_TEST((metrics() == expected_metrics));
  BOOST_TEST(!std::filesystem::exists(output / "state"));
}

BOOST_FIXTURE_TEST_CASE(a_second_run_in_one_folder_is_refused, Folder, *here) {
  const RunningProgram first(words({"--steps", "100000"}));
  while (!std::filesystem::exists(output / "metrics.jsonl")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const Ended second = run({"--steps", "100000", "--resume"});
  BOOST_TEST(second.status == 1);
  BOOST_TEST(contains(second.err, output.string() + ": another process is training here"), second.err);
  first.kill(SIGTERM);
  BOOST_TEST(first.wait().status == 4);
  const Ended other = run({"--steps", "100000", "--resume", "--scaling", "sqrt"});
  BOOST_TEST(other.status == 2);
  BOOST_TEST(contains(other.err, "adapter.scaling \"none\" there, \"sqrt\" here"), other.err);
}

BOOST_FIXTURE_TEST_CASE(a_damaged_state_gives_way_to_the_one_before_it, Folder, *here) {
  const std::vector<std::string> options{"--steps", "2000", "--save-every", "1", "--resume"};
  const auto stop = [&] {
    const RunningProgram running(words(options));
    while (!std::filesystem::exists(output / "state/step-000000000003.safetensors") &&
           !std::filesystem::exists(output / "state/step-000000000004.safetensors"))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    running.kill(SIGTERM);
    BOOST_REQUIRE(running.wait().status == 4);
  };
  stop();
  std::vector<std::filesystem::path> states;
  for (const auto& entry : std::filesystem::directory_iterator(output / "state")) states.push_back(entry.path());
  BOOST_REQUIRE(states.size() == 2U);
  std::ranges::sort(states);
  std::filesystem::resize_file(states[1], 100);
  const RunningProgram running(words(options));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  running.kill(SIGTERM);
  const Ended ended = running.wait();
  BOOST_TEST((ended.status == 4 || ended.status == 0), ended.err);
  BOOST_TEST(contains(ended.err, states[1].string() + ": "), ended.err);
  BOOST_TEST(contains(ended.err, "going on from the state before it"), ended.err);
  if (ended.status == 0) return;
  for (const auto& entry : std::filesystem::directory_iterator(output / "state")) std::filesystem::resize_file(entry.path(), 100);
  const Ended none = run(options);
  BOOST_TEST(none.status == 1);  // it does not silently start over
}

// ---- disks that refuse -------------------------------------------------------------------------------------------------

/// Files below `folder`, by name, with their content.
std::map<std::string, std::string> files(const std::filesystem::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) found[entry.path().string()] = content_of(entry.path());
  return found;
}

BOOST_FIXTURE_TEST_CASE(a_full_disk_is_one_error_and_loses_nothing, Folder, *here * may_mount) {
  const SmallDisk disk(path() / "disk", 400 << 10U);  // room for two states and half of a third
  output = disk.path() / "out";
  const std::vector<std::string> options{"--steps", "40", "--save-every", "1", "--resume"};
  const Ended full = run(options);
  BOOST_TEST(full.status == 1, full.err);
  BOOST_TEST(contains(full.err, "No space left on device"), full.err);
  BOOST_TEST(std::count(full.err.begin(), full.err.end(), '\n') == 1, full.err);
  BOOST_TEST(record().at("finished") == false);
  BOOST_TEST(!std::filesystem::exists(output / "adapter_model.safetensors"));
  for (const auto& [name, content] : files(output)) BOOST_TEST(!name.ends_with(".tmp"), name);
  disk.grow(4 << 20U);
  const Ended ended = run(options);  // what was saved before is enough to go on
  BOOST_TEST(ended.status == 0, ended.err);
  const std::string resumed = weights();
  output = path() / "whole";
  BOOST_REQUIRE(run(options).status == 0);
  BOOST_TEST((weights() == resumed));
}

BOOST_FIXTURE_TEST_CASE(a_read_only_folder_is_one_error, Folder, *here * may_mount) {
  const SmallDisk disk(path() / "disk", 4 << 20U);
  output = disk.path() / "out";
  BOOST_REQUIRE(run({"--lr", "1e-3,2e-3"}).status == 0);
  const auto before = files(output);
  disk.make_read_only();
  const Ended ended = run({"--lr", "1e-3,2e-3,3e-3"});
  BOOST_TEST(ended.status == 1, ended.err);
  BOOST_TEST(contains(ended.err, "Read-only file system"), ended.err);
  BOOST_TEST((files(output) == before));
}

BOOST_FIXTURE_TEST_CASE(a_folder_that_vanishes_ends_the_run_and_is_not_made_again, Folder, *here) {
  const RunningProgram running(words({"--steps", "100000", "--save-every", "10"}));
  while (lines(output / "metrics.jsonl") < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::filesystem::rename(output, path() / "elsewhere");
  const Ended ended = running.wait();
  BOOST_TEST(ended.status == 1);
  BOOST_TEST(contains(ended.err, output.string() + ": was removed or replaced while a run was training in it"), ended.err);
  BOOST_TEST(!std::filesystem::exists(output));
  BOOST_TEST(lines(path() / "elsewhere/metrics.jsonl") >= 3);
}

// ---- the same command again ------------------------------------------------------------------------------------------------

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
