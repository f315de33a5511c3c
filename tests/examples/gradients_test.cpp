#define BOOST_TEST_MODULE gradients
#include <boost/test/unit_test.hpp>
#include <linden/io/safetensors.hpp>

#include "examples/run_program.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden::test;
namespace utf = boost::unit_test;
const auto here = utf::precondition(needs_shared("models/stories260K"));

nlohmann::json golden_adapter_cases() {
  std::ifstream file(shared_folder() / "golden/stories260k_adapter.json");
  return nlohmann::json::parse(file);
}

/// The program on the golden model and adapter.
Ended run(const TemporaryFolder& folder, const std::string& ids, const std::string& p,
          std::vector<std::string> more = {}) {
  std::vector<std::string> words{"gradients",
                                 "--model",
                                 (shared_folder() / "models/stories260K").string(),
                                 "--adapter",
                                 (shared_folder() / "golden/adapter_stories260k").string(),
                                 "--ids",
                                 folder.file("ids.json", ids).string(),
                                 "--weighting",
                                 folder.file("p.json", p).string(),
                                 "--output",
                                 (folder.path() / "out.safetensors").string()};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

std::string golden_ids() {
  nlohmann::json ids;
  const auto golden = golden_adapter_cases();
  for (const auto& sample : golden.at("batch")) {
    ids["input_ids"].push_back(sample.at("input_ids"));
    ids["labels"].push_back(sample.at("labels"));
  }
  return ids.dump();
}

void check_golden(const std::vector<std::string>& more, linden::Dtype dtype, double loss_tolerance, double tolerance) {
  const TemporaryFolder folder;
  const auto c = golden_adapter_cases().at("train_cases").at(0);
  const Ended ended = run(folder, golden_ids(), nlohmann::json({{"p", c.at("p")}}).dump(), more);
  BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
  const linden::SafeTensors found(folder.path() / "out.safetensors");
  const linden::SafeTensors expected(shared_folder() / "golden/stories260k_adapter_grads.safetensors");
  BOOST_REQUIRE_EQUAL(found.names().size(), expected.names().size() + 1);
  double loss = 0;
  found.read("loss", {}, std::span(&loss, 1));
  BOOST_TEST(relative_error(loss, c.at("loss").get<double>()) < loss_tolerance);
  for (const auto& name : expected.names()) {
    BOOST_REQUIRE(found.contains(name));
    BOOST_TEST((found.entry(name).dtype == dtype));
    const auto shape = expected.entry(name).shape;  // PEFT's, not ours
    std::vector<double> f(shape.at(0) * shape.at(1)), e(f.size());
    found.read(name, shape, std::span(f));
    expected.read(name, shape, std::span(e));
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < f.size(); ++i) {
      difference += (f[i] - e[i]) * (f[i] - e[i]);
      norm += e[i] * e[i];
    }
    BOOST_TEST(std::sqrt(difference / norm) < tolerance, name);
  }
}

void expect_error(int status, const std::string& ids, const std::string& p, const std::string& message) {
  const TemporaryFolder folder;
  const Ended ended = run(folder, ids, p);
  BOOST_TEST(ended.status == status);
  BOOST_TEST(ended.err.find(message) != std::string::npos, "'" << ended.err << "' lacks '" << message << "'");
  BOOST_TEST(!std::filesystem::exists(folder.path() / "out.safetensors"));
}

const std::string good_ids = R"({"input_ids": [[1, 2, 3]], "labels": [[-100, 2, 3]]})";
const std::string good_p = R"({"p": [1, 1, 1, 1, 1, 1, 1, 1]})";
}  // namespace

BOOST_AUTO_TEST_CASE(golden_gradients_in_double, *here) { check_golden({"--double"}, linden::Dtype::F64, 1e-10, 1e-9); }
BOOST_AUTO_TEST_CASE(golden_gradients_in_float, *here) { check_golden({}, linden::Dtype::F32, 1e-5, 1e-4); }

BOOST_AUTO_TEST_CASE(bad_token_files_are_refused, *here) {
  const auto refuses = [](const std::string& ids, const std::string& message) {
    expect_error(1, ids, good_p, message);
  };
  refuses("[]", "ids.json: found [], expected an object");
  refuses("{", "ids.json: not JSON");
  refuses(R"({"input_ids": [[1]]})", "field 'labels': found nothing, expected a list of sequences");
  refuses(R"({"input_ids": [], "labels": []})", "field 'input_ids': found [], expected a list of sequences");
  refuses(R"({"input_ids": [[1]], "labels": [[1]], "mask": [[1]]})",
          "field 'mask': found [[1]], expected no such field");
  refuses(R"({"input_ids": [[1]], "labels": [[1], [2]]})", "input_ids has 1 sequences, labels has 2");
  refuses(R"({"input_ids": [1], "labels": [[1]]})", "input_ids[0]: expected a list of ids, found number");
  refuses(R"({"input_ids": [[1, 512]], "labels": [[1, 2]]})",
          "input_ids[0][1]: found 512, expected an id from 0 to 511");
  refuses(R"({"input_ids": [[1, -100]], "labels": [[1, 2]]})", "input_ids[0][1]: found -100, expected an id");
  refuses(R"({"input_ids": [[1, 2]], "labels": [[1, 2.0]]})", "labels[0][1]: found 2.0, expected -100 or an id");
  refuses(R"({"input_ids": [[1, 2]], "labels": [[1, "2"]]})", "labels[0][1]: found \"2\", expected -100 or an id");
  refuses(R"({"input_ids": [[1, 2]], "labels": [[1]]})", "labels[0]: 1 labels for 2 ids");
  refuses(R"({"input_ids": [[]], "labels": [[]]})", "input_ids[0]: 0 tokens, expected 1 to 512");
  refuses(R"({"input_ids": [[1, 2]], "labels": [[1, -100]]})", "no label counts");
}

BOOST_AUTO_TEST_CASE(bad_weighting_files_are_refused, *here) {
  const auto refuses = [](const std::string& p, const std::string& message) { expect_error(1, good_ids, p, message); };
  refuses(R"({"p": [1, 2]})", "p has 2 weights, expected 8, the adapter's rank");
  refuses(R"({"p": 1})", "field 'p': found 1, expected a list of weights");
  refuses(R"({"p": [1, 1, 1, null, 1, 1, 1, 1]})", "p[3]: found null, expected a finite number");
  refuses(R"({"p": [1, 1, 1, 1e39, 1, 1, 1, 1]})", "p[3]: found 1e+39, expected a finite number");  // infinite in float
  refuses(R"({"q": [1]})", "field 'q'");
}

BOOST_AUTO_TEST_CASE(incomplete_command_lines_are_refused) {
  const Ended ended = run_program({"gradients"});
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(ended.err.find("gradients: --model is required") != std::string::npos, ended.err);
}
