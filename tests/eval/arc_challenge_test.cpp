#define BOOST_TEST_MODULE arc_challenge
#include <linden/eval/arc_challenge.hpp>

#include <boost/test/unit_test.hpp>
#include <string>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;

namespace {

TaskDocument document(const std::string& choices, const std::string& key) {
  const auto row =
      nlohmann::json::parse(R"({"question": "Q?", "choices": )" + choices + R"(, "answerKey": ")" + key + "\"}");
  return arc_challenge_document(JsonObject(row, "f, line 2"));
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_letters_and_numbers_and_any_count) {
  const TaskDocument four = document(R"({"text": ["w", "x", "y", "z"], "label": ["A", "B", "C", "D"]})", "C");
  BOOST_TEST(four.text == "Question: Q?\nAnswer:");
  BOOST_TEST(four.gold == 2U);
  BOOST_TEST(four.target == "y");
  BOOST_TEST(four.choices.size() == 4U);
  const TaskDocument three = document(R"({"text": ["w", "x", "y"], "label": ["1", "2", "3"]})", "3");
  BOOST_TEST(three.gold == 2U);
  BOOST_TEST(three.target == "y");
  const TaskDocument five = document(R"({"label": ["A", "B", "C", "D", "E"], "text": ["v", "w", "x", "y", "z"]})", "E");
  BOOST_TEST(five.gold == 4U);
  BOOST_TEST(five.choices.size() == 5U);
}

BOOST_AUTO_TEST_CASE(refuses_rows_that_do_not_fit) {
  const auto refuses = [](const std::string& choices, const std::string& key, const std::string& message) {
    refused<DataError>([&] { return document(choices, key); }, {"f, line 2: field '", message});
  };
  refuses(R"({"text": ["x", "y"], "label": ["A", "B"]})", "C", "answerKey': found \"C\", expected one of the 2 labels");
  refuses(R"({"text": ["x", "y"], "label": ["A"]})", "A",
          "choices.label': found [\"A\"], expected as many labels as texts (2)");
  refuses(R"({"text": ["x", 2], "label": ["A", "B"]})", "A",
          "choices.text': found [\"x\",2], expected an array of strings");
  refuses(R"({"text": [], "label": []})", "A", "choices.text': found []");
  refuses(R"({"text": ["x"]})", "A", "choices.label': found nothing");
  refuses(R"(["x", "y"])", "A", "choices': found [\"x\",\"y\"], expected an object");
}
