#define BOOST_TEST_MODULE device
#include "support/device_options.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"

// The programs on a GPU, where this build has code for one and there is one; what they say where not.
namespace {
using namespace linden::test;

const std::string demo = std::string(LINDEN_TEST_DIR) + "/../examples/demo";

Ended generate(const std::vector<std::string>& more) {
  std::vector<std::string> words{"generate", "--model", demo, "--prompt", "Tom has 3 apples.", "--greedy", "--max-tokens", "12"};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

#ifdef LINDEN_CUDA
boost::test_tools::assertion_result has_gpu(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result there = generate({"--device", "cuda"}).status == 0;
  there.message() << "SKIPPED: no GPU was found";
  return there;
}
#else
boost::test_tools::assertion_result has_gpu(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result there = false;
  there.message() << "SKIPPED: this build has no code for GPUs";
  return there;
}
#endif
const auto on_gpu = boost::unit_test::precondition(has_gpu);

struct Folder : TemporaryFolder {
  std::string data = file("train.jsonl", R"({"question": "Tom has 3 apples and buys 4. How many?", "answer": "3 + 4 = 7\n#### 7"}
{"question": "Ann has 9 pens and loses 2. How many?", "answer": "9 - 2 = 7\n#### 7"}
{"question": "Two boxes hold 5 pears each. How many?", "answer": "2 * 5 = 10\n#### 10"}
)")
                         .string();

  /// The losses of a run into `name`, and its adapter.
  std::vector<double> finetune(const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> words{"finetune", "--model",      demo, "--data",  data, "--output", (path() / name).string(), "--rank",
                                   "4",        "--batch",      "2",  "--steps", "6",  "--lr",     "2e-3",                   "--adapter",
                                   "stratified", "--accumulate", "1"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run_program(words);
    BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
    std::vector<double> losses;
    std::ifstream metrics(path() / name / "metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) losses.push_back(nlohmann::json::parse(line).at("loss"));
    return losses;
  }
  [[nodiscard]] std::string adapter(const std::string& name) const { return content_of(path() / name / "adapter_model.safetensors"); }

  nlohmann::json evaluate(const std::vector<std::string>& more) {
    const std::string json = (path() / "result.json").string();
    std::filesystem::remove(path() / "result.documents.jsonl");
    std::vector<std::string> words{"evaluate", "--model", demo, "--adapter", (path() / "cpu").string(), "--data", data, "--json", json};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run_program(words);
    BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
    return nlohmann::json::parse(content_of(json));
  }
};

void expect_close(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  BOOST_REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) BOOST_TEST(std::abs(found[i] - expected[i]) <= tolerance * expected[i]);
}
}  // namespace

BOOST_AUTO_TEST_CASE(what_cannot_be_is_said_in_one_line) {
  const Ended ended = generate({"--device", "cuda"});
  if (ended.status == 0) return;  // there is a GPU, and it did it
#ifdef LINDEN_CUDA
  BOOST_TEST(ended.status == 1);
  BOOST_TEST(ended.err == "generate: linden: no GPU was found (is the NVIDIA driver loaded?); run on the CPU instead\n");
#else
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(ended.err == "generate: --device cuda: this build has no code for GPUs; configure it with LINDEN_CUDA=ON (preset cuda)\n");
#endif
  BOOST_TEST(ended.out == "");
  BOOST_TEST(generate({"--device", "gpu"}).err.find("--device: gpu not in {cpu,cuda}") != std::string::npos);
}

#ifndef LINDEN_CUDNN
BOOST_AUTO_TEST_CASE(cudnn_that_was_not_built_is_said_in_one_line) {
  const Ended ended = generate({"--attention", "cudnn"});
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(ended.err == "generate: --attention cudnn: this build has no cuDNN; configure it with LINDEN_CUDA=ON and LINDEN_CUDNN=ON\n");
}
#endif

BOOST_FIXTURE_TEST_CASE(training_follows_the_cpu, Folder, *on_gpu) {
  const auto cpu = finetune("cpu", {});
  expect_close(finetune("fp32", {"--device", "cuda", "--compute", "fp32"}), cpu, 1e-4);
  expect_close(finetune("bf16", {"--device", "cuda"}), cpu, 3e-2);
  finetune("again", {"--device", "cuda"});
  BOOST_TEST((adapter("again") == adapter("bf16")));
  for (const std::string keep : {"everything", "costly", "inputs"}) {
    finetune(keep, {"--device", "cuda", "--keep", keep});
    BOOST_TEST((adapter(keep) == adapter("bf16")), keep);
  }
}

BOOST_FIXTURE_TEST_CASE(evaluation_and_generation_agree_with_the_cpu, Folder, *on_gpu) {
  finetune("cpu", {});
  const auto losses = [&](const std::vector<std::string>& more) {
    return evaluate(more).at("metrics").at("loss").at("values").get<std::vector<double>>();
  };
  const auto cpu = losses({});
  expect_close(losses({"--device", "cuda", "--compute", "fp32"}), cpu, 1e-5);
  expect_close(losses({"--device", "cuda"}), cpu, 2e-2);
  BOOST_TEST(generate({"--device", "cuda", "--compute", "fp32"}).out == generate({}).out);
}
