#define BOOST_TEST_MODULE dataset
#include <linden/data/dataset.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"
#include "support/golden.hpp"

using namespace linden;
using linden::test::Folder;
using linden::test::refused;
using linden::test::SmallTokenizer;
using Ids = std::vector<std::int32_t>;

namespace {

const std::string question_row = R"({"question": "Q?", "answer": "5\n#### 5"})";

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_reference_samples,
                     *boost::unit_test::precondition(test::needs_shared("golden/stories260k_samples.json"))) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(test::shared_folder() / "golden" / "stories260k_samples.json"));
  const auto tokenizer = Tokenizer::load(test::shared_folder() / "models" / "stories260K");
  for (const auto& expected : golden.at("samples")) {
    const auto folder = test::shared_folder() / "data" / expected.at("dataset").get<std::string>();
    const auto row = expected.at("row").get<std::size_t>();
    const auto examples = read_jsonl(folder / (expected.at("split").get<std::string>() + ".jsonl"));
    const Example& example = examples.at(row);
    BOOST_TEST(example.row == expected.at("row").get<long>());
    BOOST_TEST(example.prompt == expected.at("prompt").get<std::string>());
    BOOST_TEST(example.answer == expected.at("answer").get<std::string>());
    const Sample sample = make_sample(tokenizer, example, expected.at("max_length").get<long>());
    BOOST_TEST(sample.ids == expected.at("input_ids").get<Ids>(), boost::test_tools::per_element());
    BOOST_TEST(sample.labels == expected.at("labels").get<Ids>(), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(reads_each_kind_of_row) {
  const Folder folder;
  const auto one = [&](const std::string& row) { return read_jsonl(folder.write("rows.jsonl", row + "\n")).at(0); };
  const Example gsm8k = one(question_row);
  BOOST_TEST((gsm8k.kind == RowKind::question_answer));
  BOOST_TEST(gsm8k.question == "Q?");
  BOOST_TEST(gsm8k.prompt == "Question: Q?\nAnswer: ");
  BOOST_TEST(gsm8k.answer == "5\n#### 5");
  const Example bare = one(R"({"instruction": "Do", "input": "", "output": "Done", "data_source": "x"})");
  BOOST_TEST((bare.kind == RowKind::instruction));
  BOOST_TEST(bare.prompt == "### Instruction:\nDo\n\n### Response:\n");
  BOOST_TEST(bare.answer == "Done");
  const Example with_input = one(R"({"instruction": "Do", "input": "This", "output": "Done"})");
  BOOST_TEST(with_input.prompt == "### Instruction:\nDo\n\n### Input:\nThis\n\n### Response:\n");
  const Example choice =
      one(R"({"question": "Q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"})");
  BOOST_TEST((choice.kind == RowKind::multiple_choice));
  BOOST_TEST(choice.question == "Q?");
  BOOST_TEST(choice.prompt == "Question: Q?\n1. x\n2. y\nAnswer: ");
  BOOST_TEST(choice.answer == "y");
  const Example pair = one(R"({"prompt": "a ", "completion": "b"})");
  BOOST_TEST((pair.kind == RowKind::prompt_completion));
  BOOST_TEST(pair.prompt == "a ");
  BOOST_TEST(pair.answer == "b");
  const Example plain = one(R"({"text": "Once"})");
  BOOST_TEST((plain.kind == RowKind::text));
  BOOST_TEST(plain.prompt == "");
  BOOST_TEST(plain.answer == "Once");
}

BOOST_AUTO_TEST_CASE(accepts_crlf_blank_lines_and_no_final_newline_and_stops_at_the_limit) {
  const Folder folder;
  const auto path = folder.write("rows.jsonl", "{\"text\": \"a\"}\r\n\r\n{\"text\": \"b\\r\\n\"}\r\n{\"text\": \"c\"}");
  const auto examples = read_jsonl(path);
  BOOST_TEST(examples.size() == 3U);
  BOOST_TEST(examples.at(1).answer == "b\r\n");
  BOOST_TEST(examples.at(2).row == 2);
  const auto broken_later = folder.write("later.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\nnot JSON\n");
  BOOST_TEST(read_jsonl(broken_later, 2).size() == 2U);
}

BOOST_AUTO_TEST_CASE(learns_the_answer_and_its_end_only) {
  const SmallTokenizer folder;
  const auto tokenizer = Tokenizer::load(folder.path());
  const Example example{RowKind::question_answer, "Q", "How many? ", "5", 3};
  const Ids prompt = tokenizer.encode(example.prompt, true), answer = tokenizer.encode("5", false);
  const Sample sample = make_sample(tokenizer, example, 512);
  Ids ids = prompt, labels(prompt.size(), Sample::ignored);
  for (auto* list : {&ids, &labels}) {
    list->insert(list->end(), answer.begin(), answer.end());
    list->push_back(tokenizer.eos());
  }
  BOOST_TEST(sample.ids == ids, boost::test_tools::per_element());
  BOOST_TEST(sample.labels == labels, boost::test_tools::per_element());
  BOOST_TEST(sample.row == 3);
  BOOST_TEST(ids.front() == tokenizer.bos());

  const Sample cut = make_sample(tokenizer, example, static_cast<long>(ids.size()) - 1);
  BOOST_TEST(cut.ids.size() == ids.size() - 1);
  BOOST_TEST(cut.labels.back() == answer.back());  // the eos is gone
  const Sample prompt_only = make_sample(tokenizer, example, 3);
  BOOST_TEST(prompt_only.labels == Ids(3, Sample::ignored), boost::test_tools::per_element());
  refused<UsageError>([&] { (void)make_sample(tokenizer, example, 1); }, {"max_length 1, expected 2 or more"});
}

BOOST_AUTO_TEST_CASE(learns_all_of_a_plain_text) {
  const SmallTokenizer folder;
  const auto tokenizer = Tokenizer::load(folder.path());
  const auto samples = make_samples(tokenizer, {{RowKind::text, "", "", "Tom has", 0}}, 512);
  Ids expected = tokenizer.encode("Tom has", true);
  expected.push_back(tokenizer.eos());
  BOOST_TEST(samples.at(0).ids == expected, boost::test_tools::per_element());
  expected.front() = Sample::ignored;
  BOOST_TEST(samples.at(0).labels == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(refuses_bad_files_with_file_and_line) {
  const Folder folder;
  const auto bad = [&](const std::string& content, std::vector<std::string> parts) {
    const auto path = folder.write("bad.jsonl", content);
    parts.push_back(path.string());
    refused<DataError>([&] { (void)read_jsonl(path); }, parts);
  };
  const std::string good = question_row + "\n";
  bad(good + "{\"question\": \n", {"line 2: not JSON"});
  bad(good + "\n[1, 2]\n", {"line 3: found array, expected an object"});
  bad(good + "{\"question\": \"a\"}\n", {"line 2: keys (question) lack (question, answer)"});
  bad("{\"text\": \"a\", \"prompt\": \"b\", \"completion\": \"c\"}\n",
      {"line 1: keys (completion, prompt, text) fit more"});
  bad(good + "{\"question\": \"a\", \"answer\": 5}\n", {"line 2: \"answer\": found number, expected a string"});
  bad("{\"text\": null}\n", {"line 1: \"text\": found null, expected a string"});
  bad(good + "{\"text\": \"a\"}\n", {"line 2: keys (text) are of another kind than the rows before"});
  bad("{\"text\": \"\xFF\"}\n", {"line 1: not JSON"});
  const auto choice = [](const std::string& choices) {
    return R"({"question": "a", "answerKey": "C", "choices": )" + choices + "}\n";
  };
  bad(choice("[]"), {"line 1: \"choices\"/\"text\": expected an array of strings"});
  bad(choice(R"({"text": ["x"], "label": [1]})"), {"line 1: \"choices\"/\"label\": expected an array of strings"});
  bad(choice(R"({"text": ["x"], "label": []})"), {"line 1: \"choices\": found 1 texts and 0 labels"});
  bad(choice(R"({"text": ["x"], "label": ["A"]})"), {"line 1: \"answerKey\": found \"C\""});
  bad("", {"no rows"});
  bad("\n \r\n", {"no rows"});
  refused<DataError>([&] { (void)read_jsonl(folder.path() / "absent.jsonl"); }, {"absent.jsonl: cannot be opened"});
  refused<DataError>([&] { (void)read_jsonl(folder.path()); }, {"is a directory, expected a file"});
  refused<UsageError>([&] { (void)read_jsonl(folder.write("ok.jsonl", good), 0); }, {"limit 0, expected 1 or more"});
}
