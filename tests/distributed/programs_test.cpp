// The programs by several processes, as mpirun starts them.
#define BOOST_TEST_MODULE programs
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <linden/io/json_file.hpp>
#include <sstream>
#include <thread>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden::test;
using nlohmann::json;
const auto here = boost::unit_test::precondition(needs_shared("models/stories260K"));

using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

long lines(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return 0;
  const std::string content = content_of(file);
  return std::count(content.begin(), content.end(), '\n');
}

/// The lines of `err` that are the program's, not the launcher's.
Words said(const std::string& err) {
  Words list;
  std::istringstream all(err);
  for (std::string line; std::getline(all, line);)
    if (line.starts_with("finetune: ") || line.starts_with("evaluate: ")) list.push_back(line);
  return list;
}

/// What mpirun is told, to start so many processes of a program.
Words by(int processes, const Words& program) {
  Words words{LINDEN_MPIEXEC, LINDEN_MPIEXEC_COUNT, std::to_string(processes)};
  words.push_back(LINDEN_PROGRAM_DIR "/" + program[0]);
  return words + Words(program.begin() + 1, program.end());
}

/// The processes that mpirun has started, by their numbers; waits until all are there.
std::vector<pid_t> processes_of(pid_t launcher, std::size_t count) {
  const auto environment_of = [](pid_t process) {
    std::ifstream file("/proc/" + std::to_string(process) + "/environ", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  for (std::vector<pid_t> found;; found.clear(), std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    const std::string tasks = "/proc/" + std::to_string(launcher) + "/task";
    std::vector<std::pair<int, pid_t>> numbered;
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::ifstream children(task.path() / "children");
      for (pid_t child = 0; children >> child;) {
        const std::string environment = environment_of(child), key("\0OMPI_COMM_WORLD_RANK=", 22);
        if (const auto at = environment.find(key); at != environment.npos) numbered.emplace_back(std::atoi(environment.c_str() + at + key.size()), child);
      }
    }
    std::ranges::sort(numbered);
    for (const auto& [number, process] : numbered) found.push_back(process);
    if (found.size() == count) return found;
  }
}

struct Folder : TemporaryFolder {
  std::string model = (shared_folder() / "models/stories260K").string(), data;
  std::filesystem::path output = path() / "out";

  Folder() {
    std::string rows;
    const Words words{"Once", "upon", "a", "time", "there", "was", "girl", "who", "loved", "the", "red", "ball", "and", "big", "dog"};
    for (std::size_t row = 0; row < 31; ++row) {
      std::string sentence;
      for (std::size_t k = 0; k < 5 + row % 7; ++k) sentence += (k == 0 ? "" : " ") + words[(row * 7 + k * 3) % words.size()];
      rows += json{{"text", sentence}}.dump() + "\n";
    }
    data = file("train.jsonl", rows).string();
  }

  [[nodiscard]] Words finetune(const Words& more = {}) const {
    return Words{"finetune", "--model", model, "--data", data, "--output", output, "--rank", "4", "--batch", "3", "--accumulate", "2"} + more;
  }
  [[nodiscard]] std::string weights() const { return content_of(output / "adapter_model.safetensors"); }
  [[nodiscard]] std::vector<json> metrics() const {
    std::vector<json> records;
    std::istringstream all(content_of(output / "metrics.jsonl"));
    for (std::string line; std::getline(all, line);) records.push_back(json::parse(line)), records.back().erase("seconds");
    return records;
  }
  /// What a run by so many processes leaves in a folder of that name.
  void run(int processes, const std::string& name, const Words& more) {
    output = path() / name;
    const Ended ended = run_program(by(processes, finetune(more)));
    BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  }
};
}  // namespace

// ---- training ---------------------------------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(training_means_the_same_on_any_number_of_processes, Folder, *here) {
  for (const char* kind : {"dylora", "stratified"}) {
    const Words options{"--adapter", kind, "--steps", "9", "--lr", "1e-3"};
    output = path() / kind / "alone";
    BOOST_REQUIRE(run_program(finetune(options)).status == 0);
    const auto expected = metrics();
    const auto entries = std::distance(std::filesystem::directory_iterator(output), {});
    for (const int processes : {1, 2, 4}) {
      const std::string name = std::string(kind) + "/" + std::to_string(processes);
      run(processes, name, options);
      const auto found = metrics();
      BOOST_REQUIRE(found.size() == expected.size());
      for (std::size_t step = 0; step < found.size(); ++step) {
        BOOST_TEST(found[step].at("loss").get<double>() == expected[step].at("loss").get<double>(), boost::test_tools::tolerance(2e-6));
        BOOST_TEST(found[step].at("tokens") == expected[step].at("tokens"));
      }
      BOOST_TEST(std::distance(std::filesystem::directory_iterator(output), {}) == entries);
      const std::string first = weights();
      run(processes, name + "again", options);
      BOOST_TEST((weights() == first));
      BOOST_TEST((metrics() == found));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(timings_are_told_of_every_process, Folder, *here) {
  const Ended ended = run_program(by(2, finetune({"--steps", "4", "--timings"})));
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  BOOST_TEST(contains(ended.out, "process 0 of 2 (on "), ended.out);
  BOOST_TEST(contains(ended.out, "process 1 of 2 (on "), ended.out);
  const json processes = json::parse(content_of(output / "run.json")).at("totals").at("processes");
  BOOST_REQUIRE(processes.size() == 2U);
  const double parameters = static_cast<double>(json::parse(content_of(output / "run.json")).at("totals").at("steps").get<int>()) *
                            (static_cast<double>(std::filesystem::file_size(output / "adapter_model.safetensors")) / 4);
  for (const json& one : processes) {
    BOOST_TEST(one.at("computing_seconds").get<double>() > 0);
    BOOST_TEST(one.at("waiting_seconds").get<double>() > 0);
    // 4 bytes of every gradient, once to be added and once as a sum, of which half stays; the file has some words beside them
    BOOST_TEST(one.at("bytes_sent").get<double>() == 4 * parameters, boost::test_tools::tolerance(0.1));
  }
}

BOOST_FIXTURE_TEST_CASE(an_interrupted_run_goes_on_with_any_number, Folder, *here) {
  const Words options{"--adapter", "stratified", "--steps", "400", "--lr", "1e-3", "--save-every", "0", "--resume"};
  run(2, "whole", options);
  const std::string expected = weights();
  const auto expected_metrics = metrics();
  output = path() / "stopped";
  int stops = 0;
  for (const int processes : {2, 2, 3}) {
    const RunningProgram running(by(processes, finetune(options)));
    const long before = lines(output / "metrics.jsonl");
    while (lines(output / "metrics.jsonl") < before + 20) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    running.kill(SIGUSR1);  // which mpirun hands on
    const Ended ended = running.wait();
    BOOST_TEST(ended.status == 4, ended.err);
    BOOST_TEST(contains(ended.err, "its state is saved, the same command with --resume goes on\n"), ended.err);
    if (++stops == 1) {
      const auto copy = path() / "copy";
      std::filesystem::copy(output, copy, std::filesystem::copy_options::recursive);
      output = copy;
      BOOST_REQUIRE(run_program(by(2, finetune(options))).status == 0);
      BOOST_TEST((weights() == expected));
      BOOST_TEST((metrics() == expected_metrics));
      output = path() / "stopped";
    }
  }
  BOOST_REQUIRE(run_program(finetune(options)).status == 0);  // and alone
  const auto found = metrics();
  BOOST_REQUIRE(found.size() == expected_metrics.size());
  BOOST_TEST(found.back().at("loss").get<double>() == expected_metrics.back().at("loss").get<double>(), boost::test_tools::tolerance(1e-4));
}

BOOST_FIXTURE_TEST_CASE(a_killed_process_ends_the_others_and_loses_nothing, Folder, *here) {
  const Words options{"--adapter", "dylora", "--steps", "60", "--save-every", "1", "--resume"};
  run(3, "whole", options);
  const std::string expected = weights();
  const auto expected_metrics = metrics();
  for (std::size_t killed = 0; killed < 3; ++killed) {
    output = path() / ("killed" + std::to_string(killed));
    const Words words = by(3, finetune(options));
    const RunningProgram running(words);
    while (lines(output / "metrics.jsonl") < 5 + 10 * static_cast<long>(killed)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto begin = std::chrono::steady_clock::now();
    ::kill(processes_of(running.process(), 3)[killed], SIGKILL);
    const Ended ended = running.wait();
    BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::minutes(1)));
    BOOST_TEST(ended.status != 0);
    BOOST_TEST(contains(ended.err, "process rank " + std::to_string(killed)), ended.err);  // the launcher's words
    BOOST_TEST(!std::filesystem::exists(output / "adapter_model.safetensors"));
    const Ended again = run_program(words);
    BOOST_REQUIRE_MESSAGE(again.status == 0, again.err);
    BOOST_TEST(contains(again.err, ": goes on after step "), again.err);
    BOOST_TEST((weights() == expected));
    BOOST_TEST((metrics() == expected_metrics));
  }
}

BOOST_FIXTURE_TEST_CASE(a_process_that_hangs_is_named_by_the_others, Folder, *here) {
  const Words options{"--steps", "100000", "--save-every", "10", "--patience", "1"};
  for (std::size_t hung = 0; hung < 3; ++hung) {
    output = path() / ("hung" + std::to_string(hung));
    const RunningProgram running(by(3, finetune(options)));
    while (lines(output / "metrics.jsonl") < 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto begin = std::chrono::steady_clock::now();
    ::kill(processes_of(running.process(), 3)[hung], SIGSTOP);
    const Ended ended = running.wait();
    BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::minutes(1)));
    BOOST_TEST(ended.status == 1);
    const Words words = said(ended.err);
    BOOST_REQUIRE(!words.empty());
    for (const std::string& line : words) BOOST_TEST(contains(line, ": linden: process " + std::to_string(hung) + " of 3 (on "), line);
    BOOST_TEST(contains(words[0], "gave no sign of life for "), words[0]);
  }
}

BOOST_FIXTURE_TEST_CASE(processes_that_differ_are_refused_at_the_start, Folder, *here) {
  const auto refused = [&](const Words& first, const Words& second, const std::string& what) {
    Words words = by(1, first);
    words.push_back(":");
    const Words other = by(1, second);
    const Ended ended = run_program(words + Words(other.begin() + 1, other.end()));
    BOOST_TEST(ended.status == 2, ended.err);
    const Words lines_said = said(ended.err);
    BOOST_REQUIRE(lines_said.size() == 1U);
    BOOST_TEST(contains(lines_said[0], "the processes were not started alike: "), lines_said[0]);
    BOOST_TEST(contains(lines_said[0], what), lines_said[0]);
    BOOST_TEST(!std::filesystem::exists(output));
  };
  const Words usual = finetune({"--steps", "2"});
  refused(usual, finetune({"--steps", "3"}), "steps 2 in process 0, 3 in process 1 of 2 (on ");
  refused(usual, finetune({"--steps", "2", "--adapter", "lora"}), "adapter.kind \"matryoshka\" in process 0, \"lora\" in process 1");
  refused(usual, finetune({"--steps", "2", "--save-every", "7"}), "save_every 500 in process 0, 7 in process 1");

  const std::string first_data = data, first_model = model;
  data = file("other.jsonl", content_of(data) + "{\"text\": \"One more.\"}\n").string();
  refused(usual, finetune({"--steps", "2"}), "data.rows 31 in process 0, 32 in process 1");
  data = first_data;
  model = path() / "model";
  std::filesystem::copy(first_model, model);
  std::string tensors = content_of(model + "/model.safetensors");
  tensors.end()[-3] ^= 1;
  std::ofstream(model + "/model.safetensors", std::ios::binary) << tensors;
  refused(usual, finetune({"--steps", "2"}), "model.fingerprint ");
  model = first_model;
  const auto rebuilt = path() / "finetune";
  std::filesystem::copy_file(LINDEN_PROGRAM_DIR "/finetune", rebuilt);
  std::ofstream(rebuilt, std::ios::app) << "another build";
  Words words{LINDEN_MPIEXEC, LINDEN_MPIEXEC_COUNT, "1", rebuilt};
  words = words + Words(usual.begin() + 1, usual.end()) + Words{":"};
  const Words other = by(1, usual);
  const Ended ended = run_program(words + Words(other.begin() + 1, other.end()));
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(contains(ended.err, "not started alike: program \""), ended.err);
}

BOOST_FIXTURE_TEST_CASE(an_error_of_all_is_said_once_and_one_of_one_process_ends_all, Folder, *here) {
  const Ended wrong = run_program(by(3, finetune({"--rank", "0"})));
  BOOST_TEST(wrong.status == 2);
  BOOST_TEST(said(wrong.err).size() == 1U, wrong.err);
  data = path() / "none.jsonl";
  const Ended missing = run_program(by(3, finetune()));
  BOOST_TEST(missing.status == 1);
  BOOST_REQUIRE(said(missing.err).size() == 1U);
  BOOST_TEST(contains(said(missing.err)[0], "finetune: " + data), missing.err);
  BOOST_TEST(!std::filesystem::exists(output));

  Folder other;
  const RunningProgram running(by(2, other.finetune({"--steps", "100000"})));
  while (lines(other.output / "metrics.jsonl") < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::filesystem::rename(other.output, path() / "elsewhere");
  const Ended vanished = running.wait();
  BOOST_TEST(vanished.status == 1);
  BOOST_REQUIRE(said(vanished.err).size() == 1U);
  BOOST_TEST(contains(said(vanished.err)[0], "process 0 of 2 (on "), vanished.err);
  BOOST_TEST(contains(said(vanished.err)[0], "was removed or replaced while a run was training in it"), vanished.err);
}

BOOST_FIXTURE_TEST_CASE(a_launch_that_mpi_knows_nothing_of_is_refused, Folder, *here) {
  ::setenv("SLURM_STEP_NUM_TASKS", "3", 1);
  const Ended ended = run_program(finetune());
  ::unsetenv("SLURM_STEP_NUM_TASKS");
  BOOST_TEST(ended.status == 2, ended.err);
  BOOST_TEST(contains(ended.err, "was started 3 times, but MPI knows of 1 process"), ended.err);
}

// ---- sweeps -----------------------------------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_sweep_s_runs_are_dealt_out_and_have_the_bits_of_one_process, Folder, *here) {
  const Words sweep{"--steps", "20", "--lr", "1e-3,2e-3,3e-3", "--seed", "1,2"};
  output = path() / "alone";
  BOOST_REQUIRE(run_program(finetune(sweep)).status == 0);
  output = path() / "dealt";
  const Ended ended = run_program(by(4, finetune(sweep)));
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  long runs = 0;
  for (const auto& run : std::filesystem::directory_iterator(output)) {
    const auto alone = path() / "alone" / run.path().filename();
    BOOST_TEST((content_of(run.path() / "adapter_model.safetensors") == content_of(alone / "adapter_model.safetensors")));
    BOOST_TEST(lines(run.path() / "metrics.jsonl") == 20);
    ++runs;
  }
  BOOST_TEST(runs == 6);
  BOOST_TEST(std::count(ended.out.begin(), ended.out.end(), '\n') == 2 + 6, ended.out);  // one table
  BOOST_TEST(contains(ended.err, "120/120  100%  6 runs by 4 processes"), ended.err);
  std::filesystem::remove_all(output / "lr0.002-seed1");
  const Ended again = run_program(by(2, finetune(sweep)));
  BOOST_TEST(again.status == 0);
  BOOST_TEST((content_of(output / "lr0.002-seed1/adapter_model.safetensors") ==
              content_of(path() / "alone/lr0.002-seed1/adapter_model.safetensors")));
}

BOOST_FIXTURE_TEST_CASE(a_sweep_with_fewer_runs_than_processes_makes_each_by_all, Folder, *here) {
  run(3, "three", {"--steps", "6", "--lr", "1e-3,2e-3"});
  const auto of_sweep = content_of(output / "lr0.002-seed42/adapter_model.safetensors");
  run(3, "one", {"--steps", "6", "--lr", "2e-3"});
  BOOST_TEST((weights() == of_sweep));
}

BOOST_FIXTURE_TEST_CASE(an_interrupted_sweep_goes_on, Folder, *here) {
  const Words sweep{"--steps", "300", "--lr", "1e-3,2e-3,3e-3,4e-3", "--resume"};
  output = path() / "alone";
  BOOST_REQUIRE(run_program(finetune(sweep)).status == 0);
  output = path() / "dealt";
  const RunningProgram running(by(2, finetune(sweep)));
  while (lines(output / "lr0.001-seed42/metrics.jsonl") < 30 || lines(output / "lr0.002-seed42/metrics.jsonl") < 30)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  running.kill(SIGUSR1);
  const Ended ended = running.wait();
  BOOST_TEST(ended.status == 4, ended.err);
  const Ended again = run_program(by(3, finetune(sweep)));
  BOOST_REQUIRE_MESSAGE(again.status == 0, again.err);
  BOOST_TEST(contains(again.err, "lr0.001-seed42: goes on after step "), again.err);
  for (const char* run : {"lr0.001-seed42", "lr0.002-seed42", "lr0.003-seed42", "lr0.004-seed42"})
    BOOST_TEST((content_of(output / run / "adapter_model.safetensors") == content_of(path() / "alone" / run / "adapter_model.safetensors")), run);
}

// ---- evaluation -------------------------------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(an_evaluation_is_the_same_byte_for_byte, Folder, *here) {
  run(1, "adapter", {"--steps", "5", "--lr", "1e-2"});
  std::string questions, choices;
  for (int k = 0; k < 75; ++k) {  // two blocks and some
    questions += json{{"question", "What is " + std::to_string(k) + "?"}, {"answer", "It is #### " + std::to_string(k)}}.dump() + "\n";
    choices += json{{"id", k},
                    {"question", "Which is " + std::to_string(k) + "?"},
                    {"choices", {{"text", {"a ball", "a dog", "the park"}}, {"label", {"A", "B", "C"}}}},
                    {"answerKey", "B"}}
                   .dump() + "\n";
  }
  const auto asked = file("questions.jsonl", questions);
  for (const char* name : {"tasks/train.jsonl", "tasks/test.jsonl"}) file(name, choices);
  const auto result = path() / "result.json", documents = path() / "result.documents.jsonl";
  for (const Words& what : {Words{"--data", asked, "--metric", "loss"}, Words{"--data", asked, "--metric", "exact_match", "--max-tokens", "5"},
                            Words{"--task", "arc_challenge", "--task-data", path() / "tasks", "--shots", "1"}}) {
    const Words words = Words{"evaluate", "--model", model, "--adapter", output, "--json", result} + what;
    std::filesystem::remove(documents);
    const Ended alone = run_program(words);
    BOOST_REQUIRE_MESSAGE(alone.status == 0, alone.err);
    const std::string expected = content_of(result);
    const auto sorted = [&] {
      std::istringstream all(content_of(documents));
      Words list;
      for (std::string line; std::getline(all, line);) list.push_back(line);
      std::ranges::sort(list);
      return list;
    };
    const Words expected_documents = sorted();
    for (const int processes : {2, 3, 4}) {
      std::filesystem::remove(documents);
      std::filesystem::remove(result);
      const Ended ended = run_program(by(processes, words));
      BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
      BOOST_TEST((content_of(result) == expected));
      BOOST_TEST((sorted() == expected_documents));
      BOOST_TEST(ended.out == alone.out);
    }
    std::string kept;  // an interrupted one goes on, and ends with the same
    std::istringstream all(content_of(documents));
    for (std::string line; kept.size() < 6000 && std::getline(all, line);) kept += line + "\n";
    std::ofstream(documents, std::ios::binary) << kept << "{\"doc\":";
    std::filesystem::remove(result);
    BOOST_REQUIRE(run_program(by(2, words)).status == 0);
    BOOST_TEST((content_of(result) == expected));
    BOOST_TEST((content_of(documents).substr(0, kept.size()) == kept));
  }
}

BOOST_FIXTURE_TEST_CASE(an_evaluation_that_loses_a_process_goes_on_later, Folder, *here) {
  run(1, "adapter", {"--steps", "2"});
  std::string questions;
  for (int k = 0; k < 100; ++k) questions += json{{"question", "What is " + std::to_string(k) + "?"}, {"answer", "#### 1"}}.dump() + "\n";
  const auto asked = file("questions.jsonl", questions), documents = path() / "result.documents.jsonl", result = path() / "result.json";
  const Words words{"evaluate", "--model", model, "--adapter", output, "--data", asked, "--metric", "exact_match", "--max-tokens", "100",
                    "--json", result, "--patience", "1"};
  BOOST_REQUIRE(run_program(words).status == 0);
  const std::string expected = content_of(result);
  std::filesystem::remove(documents);
  for (const int signal : {SIGKILL, SIGSTOP})
    for (std::size_t lost = 0; lost < 2; ++lost) {
      std::filesystem::remove(result);
      const long before = lines(documents);
      const RunningProgram running(by(2, words));
      while (lines(documents) < before + 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ::kill(processes_of(running.process(), 2)[lost], signal);
      const Ended ended = running.wait();
      BOOST_TEST(ended.status != 0);
      if (std::filesystem::exists(result)) BOOST_TEST((content_of(result) == expected));  // the process was lost when all was measured
      if (signal == SIGKILL) continue;
      BOOST_REQUIRE(said(ended.err).size() == 1U);
      BOOST_TEST(contains(said(ended.err)[0], ": linden: process " + std::to_string(lost) + " of 2 (on "), ended.err);
    }
  BOOST_REQUIRE(run_program(by(2, words)).status == 0);
  BOOST_TEST((content_of(result) == expected));
}

BOOST_FIXTURE_TEST_CASE(evaluations_that_differ_are_refused, Folder, *here) {
  run(1, "adapter", {"--steps", "2"});
  const Words words = by(1, {"evaluate", "--model", model, "--adapter", output, "--data", data, "--metric", "loss", "--json", path() / "r.json"});
  Words other(words.begin() + 1, words.end());
  const Ended ended = run_program(words + Words{":"} + other + Words{"--ranks", "2"});
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(contains(ended.err, "not started alike: ranks [0,1,2,4] in process 0, [0,2] in process 1"), ended.err);
  BOOST_TEST(!std::filesystem::exists(path() / "r.json"));
}
