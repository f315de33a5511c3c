#define BOOST_TEST_MODULE gsm8k
#include <linden/eval/gsm8k.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;
using linden::test::SmallTokenizer;
using Strings = std::vector<std::string>;

namespace {

std::string cut(const std::string& response) { return cut_at_stop_strings(response, gsm8k_stop_strings("<end>")); }

}  // namespace

BOOST_AUTO_TEST_CASE(reads_a_row) {
  const auto row = nlohmann::json::parse(R"({"question": "Q?", "answer": "5\n#### 5"})");
  const TaskDocument document = gsm8k_document(JsonObject(row, "f.jsonl, line 3"));
  BOOST_TEST(document.text == "Question: Q?\nAnswer:");
  BOOST_TEST(document.target == "5\n#### 5");
  const auto lacking = nlohmann::json::parse(R"({"question": "Q?"})");
  refused<DataError>([&] { return gsm8k_document(JsonObject(lacking, "f.jsonl, line 3")); },
                     {"f.jsonl, line 3: field 'answer': found nothing, expected a string"});
}

BOOST_AUTO_TEST_CASE(stops_at_the_strings_of_the_task_and_the_eos) {
  BOOST_TEST(gsm8k_stop_strings("<end>") == (Strings{"Question:", "</s>", "<|im_end|>", "<end>"}),
             boost::test_tools::per_element());
  BOOST_TEST(gsm8k_stop_strings("</s>").size() == 3U);
  BOOST_TEST(gsm8k_stop_strings("").size() == 3U);
  BOOST_TEST(cut(" #### 7\n\nQuestion: more</s>") == " #### 7\n\n");
  BOOST_TEST(cut(" #### 7</s> Question: ") == " #### 7");
  BOOST_TEST(cut("<|im_end|>") == "");
  BOOST_TEST(cut("a <end> b") == "a ");
  BOOST_TEST(cut("question: 7") == "question: 7");
  BOOST_TEST(cut_at_stop_strings("abc", Strings{"", "c"}) == "ab");
}

BOOST_AUTO_TEST_CASE(cuts_a_long_prompt_on_the_left) {
  const SmallTokenizer folder;
  const auto tokenizer = Tokenizer::load(folder.path());
  const std::string prompt = "Question: Tom has 12 apples. How many apples does Tom have?\nAnswer:";
  const auto whole = tokenizer.encode(prompt, true);
  BOOST_TEST_REQUIRE(whole.size() > 5U);
  BOOST_TEST(generation_prompt_ids(tokenizer, prompt, whole.size() + 256) == whole, boost::test_tools::per_element());
  const auto last = generation_prompt_ids(tokenizer, prompt, 8 + 3, 8);
  BOOST_TEST(last == (std::vector<std::int32_t>{whole.end() - 3, whole.end()}), boost::test_tools::per_element());
  refused<UsageError>([&] { return generation_prompt_ids(tokenizer, prompt, 256); },
                      {"a context of 256 positions", "256 new tokens"});
}
