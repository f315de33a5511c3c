#define BOOST_TEST_MODULE evaluate
#include <boost/test/unit_test.hpp>
#include <linden/model/llama_adapter.hpp>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden::test;
using nlohmann::json;
const auto here = boost::unit_test::precondition(needs_shared("models/stories260K"));

/// An adapter of rank 4, and the three tasks in a few questions.
struct Folder : TemporaryFolder {
  std::filesystem::path adapter = path() / "adapter", result = path() / "result.json",
                        documents = path() / "result.documents.jsonl";

  Folder() {
    linden::LlamaAdapter<linden::Stories260K, float> random(
        {.kind = linden::AdapterKind::matryoshka, .full_rank = 4, .train_ranks = linden::RankSet{1, 4}});
    linden::NormalRandom normal(2);
    for (float& parameter : random.parameters()) parameter = 0.2F * static_cast<float>(normal());
    random.save(adapter, "stories");
    std::filesystem::create_directories(path() / "arc");
    std::string rows;
    for (const char* name : {"A", "B", "C"})
      rows += text_row({{"id", name},
                        {"question", std::string("Which letter is ") + name + "?"},
                        {"choices", {{"text", {"a ball", "a dog", "the park"}}, {"label", {"A", "B", "C"}}}},
                        {"answerKey", name}});
    file("arc/train.jsonl", rows);
    file("arc/test.jsonl", rows);
    std::filesystem::create_directories(path() / "gsm8k");
    const std::string questions = text_row({{"question", "One and one?"}, {"answer", "It is 2\n#### 2"}}) +
                                  text_row({{"question", "Two and two?"}, {"answer", "It is 4\n#### 4"}});
    file("gsm8k/train.jsonl", questions);
    file("gsm8k/test.jsonl", questions);
  }
  static std::string text_row(const json& row) { return row.dump() + "\n"; }

  [[nodiscard]] Ended run(const std::vector<std::string>& more, bool with_json = true) const {
    std::vector<std::string> words{"evaluate", "--model", (shared_folder() / "models/stories260K").string(),
                                   "--adapter", adapter};
    if (with_json) words.insert(words.end(), {"--json", result});
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
  [[nodiscard]] json found() const { return json::parse(content_of(result)); }
  [[nodiscard]] std::vector<json> lines() const {
    std::istringstream stream(content_of(documents));
    std::vector<json> list;
    for (std::string line; std::getline(stream, line);) list.push_back(json::parse(line));
    return list;
  }
};
}  // namespace

BOOST_FIXTURE_TEST_CASE(a_choice_task_at_every_rank, Folder, *here) {
  const Ended ended =
      run({"--task", "arc_challenge", "--task-data", path() / "arc", "--shots", "2", "--ranks", "1,2,4"});
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  const json summary = found();
  BOOST_TEST(summary.at("metric") == "acc");
  BOOST_TEST(summary.at("ranks") == json({1, 2, 4}));
  BOOST_TEST(summary.at("documents") == 3);
  BOOST_TEST(summary.at("metrics").at("acc_norm").at("values").size() == 3U);
  const auto results = lines();
  BOOST_REQUIRE_EQUAL(results.size(), 1U + 3 * 4);  // settings, three questions at the base and three ranks
  std::map<int, double> right;
  for (std::size_t i = 1; i < results.size(); ++i) {
    const auto log_likelihoods = results[i].at("log_likelihoods").get<std::vector<double>>();
    BOOST_TEST(log_likelihoods.size() == 3U);
    for (const double value : log_likelihoods) BOOST_TEST(value < 0);
    const auto best = std::ranges::max_element(log_likelihoods) - log_likelihoods.begin();
    BOOST_TEST(results[i].at("acc").get<double>() == (best == results[i].at("doc").get<long>() ? 1 : 0));
    right[results[i].at("rank")] += results[i].at("acc").get<double>();
  }
  BOOST_TEST(summary.at("base").get<double>() == right[0] / 3, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(summary.at("values")[2].get<double>() == right[4] / 3, boost::test_tools::tolerance(1e-12));
}

BOOST_FIXTURE_TEST_CASE(an_interrupted_evaluation_continues, Folder, *here) {
  const std::vector<std::string> task{"--task",  "gsm8k", "--task-data",  path() / "gsm8k",
                                      "--shots", "1",     "--max-tokens", "6"};
  BOOST_REQUIRE(run(task).status == 0);
  const json whole = found();
  const auto all = lines();
  BOOST_TEST(all.size() == 1U + 2 * 3);  // train ranks 1 and 4, and the base
  for (std::size_t i = 1; i < all.size(); ++i) BOOST_TEST(all[i].contains("response"));
  // What a killed run leaves: some lines, the last one cut.
  std::string kept;
  for (std::size_t i = 0; i < 4; ++i) kept += all[i].dump() + "\n";
  std::ofstream(documents, std::ios::binary) << kept << "{\"doc\":1,";
  std::filesystem::remove(result);
  BOOST_REQUIRE(run(task).status == 0);
  for (const char* same : {"values", "base", "aurac", "metrics"}) BOOST_TEST(found().at(same) == whole.at(same), same);
  const auto begins = content_of(documents).substr(0, kept.size());
  BOOST_TEST(begins == kept);  // not computed again
  const Ended other = run({"--task", "gsm8k", "--task-data", path() / "gsm8k", "--shots", "2", "--max-tokens", "6"});
  BOOST_TEST(other.status == 2);
  BOOST_TEST(other.err.find("shots 1 there, 2 here") != std::string::npos, other.err);
}

BOOST_FIXTURE_TEST_CASE(losses_are_means_over_tokens, Folder, *here) {
  const std::string rows =
      text_row({{"text", "Once upon a time there was a girl."}}) + text_row({{"text", "The end."}});
  const auto data = file("data.jsonl", rows);
  BOOST_REQUIRE(run({"--data", data, "--metric", "loss"}).status == 0);
  double loss = 0, targets = 0;
  for (const json& line : lines())
    if (line.value("rank", -1) == 4) loss += line.at("loss").get<double>(), targets += line.at("targets").get<double>();
  BOOST_TEST(found().at("values")[1].get<double>() == loss / targets, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(found().at("values")[1].get<double>() > found().at("base").get<double>());  // with a random adapter
}

BOOST_FIXTURE_TEST_CASE(weighted_inference_is_another_function, Folder, *here) {
  const auto data = file("data.jsonl", text_row({{"text", "Once upon a time there was a girl."}}));
  BOOST_REQUIRE(run({"--data", data, "--metric", "loss"}).status == 0);
  const json prefix = found().at("values");
  std::filesystem::remove(documents);
  BOOST_REQUIRE(run({"--data", data, "--metric", "loss", "--inference", "weighted"}).status == 0);
  BOOST_TEST(found().at("values") != prefix);
}

BOOST_FIXTURE_TEST_CASE(what_makes_no_sense_is_refused, Folder, *here) {
  const auto refused = [&](const std::vector<std::string>& words, int status, const char* why) {
    const Ended ended = run(words);
    BOOST_TEST(ended.status == status, ended.err);
    BOOST_TEST(ended.err.find(why) != std::string::npos, ended.err);
    BOOST_TEST(!std::filesystem::exists(result));
  };
  refused({"--task", "mmlu", "--task-data", path()}, 2, "task \"mmlu\" is not known");
  refused({"--task", "gsm8k"}, 2, "--task needs --task-data");
  refused({"--task", "hellaswag", "--task-data", path()}, 1, "hellaswag needs");
  refused({"--task", "gsm8k", "--task-data", path() / "gsm8k", "--shots", "9"}, 2, "9");
  refused({"--shots", "3"}, 2, "--shots requires --task");
  refused({"--data", path() / "none.jsonl"}, 1, "none.jsonl");
  refused({"--ranks", "8", "--limit", "2"}, 2, "rank 8: the adapter has ranks 1 to 4");
}
