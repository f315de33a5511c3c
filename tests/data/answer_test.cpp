#define BOOST_TEST_MODULE answer
#include <boost/test/unit_test.hpp>
#include <linden/data/answer.hpp>
#include <string>
#include <vector>

using namespace linden;

namespace {

struct Case {
  std::string text, strict, flexible;
};

}  // namespace

// Expected values from Python's re with the patterns of the harness.
BOOST_AUTO_TEST_CASE(extracts_what_the_patterns_match) {
  const std::vector<Case> cases{
      {" 48/2 = 24. 48+24 = 72\n#### 72", "72", "72"},
      {" The answer is $72.", "[invalid]", "$72."},
      {" #### 1,072.", "1,072.", "1,072."},
      {" #### 72.0", "72.0", "72.0"},
      {" #### 7 then #### 72", "7", "72"},
      {"", "[invalid]", "[invalid]"},
      {"no number at all.", "[invalid]", "[invalid]"},
      {"####72", "[invalid]", "72"},
      {"#### ", "[invalid]", "[invalid]"},
      {"#### -", "[invalid]", "[invalid]"},
      {"#### -5", "-5", "-5"},
      {"#### --5", "[invalid]", "-5"},
      {"##### 8", "8", "8"},
      {"#### x #### 9", "9", "9"},
      {"#### $12", "[invalid]", "$12"},
      {"#### .", ".", "[invalid]"},
      {"5-3=2.", "[invalid]", "2."},
      {"from 3 to -$4,000.50 a year", "[invalid]", "-$4,000.50"},
      {"7 ... done", "[invalid]", "..."},
      {"10-8", "[invalid]", "-8"},
  };
  for (const Case& c : cases) {
    BOOST_TEST(final_answer(c.text) == c.strict, c.text);
    BOOST_TEST(flexible_answer(c.text) == c.flexible, c.text);
  }
}

BOOST_AUTO_TEST_CASE(normalises_in_the_order_of_the_harness) {
  BOOST_TEST(normalized_answer("1,072.") == "1072");
  BOOST_TEST(normalized_answer("$72.") == "72");
  BOOST_TEST(normalized_answer("a #### b\n#### 72") == "72");
  BOOST_TEST(normalized_answer("###,# 72") == "72");  // the comma goes first, which makes the mark whole
  BOOST_TEST(normalized_answer("5..") == "5.");
  BOOST_TEST(normalized_answer("5.\n") == "5\n");
  BOOST_TEST(normalized_answer(".\n.") == ".\n");
  BOOST_TEST(normalized_answer("72.0") == "72.0");
  BOOST_TEST(normalized_answer("[Invalid]") == "[invalid]");
  BOOST_TEST(normalized_answer("") == "");
  BOOST_TEST(normalized_answer(".") == "");
}

BOOST_AUTO_TEST_CASE(scores_as_the_table_of_the_task) {
  const std::string gold = "48/2 = <<48/2=24>>24\n48+24 = 72\n#### 72";
  BOOST_TEST(strict_match(" 48/2 = 24. 48+24 = 72\n#### 72", gold));
  BOOST_TEST(flexible_match(" 48/2 = 24. 48+24 = 72\n#### 72", gold));
  BOOST_TEST(!strict_match(" The answer is $72.", gold));
  BOOST_TEST(flexible_match(" The answer is $72.", gold));
  BOOST_TEST(strict_match(" #### 1,072.", "so\n#### 1,072"));
  BOOST_TEST(flexible_match(" #### 1,072.", "so\n#### 1,072"));
  BOOST_TEST(!strict_match(" #### 72.0", gold));
  BOOST_TEST(!flexible_match(" #### 72.0", gold));
  BOOST_TEST(!strict_match(" #### 7 then #### 72", gold));
  BOOST_TEST(flexible_match(" #### 7 then #### 72", gold));
}

BOOST_AUTO_TEST_CASE(reads_a_long_text) {
  const std::string noise(1'000'000, '#');
  BOOST_TEST(final_answer(noise + " 12") == "12");
  BOOST_TEST(final_answer(std::string(1'000'000, '5')) == no_answer);
  BOOST_TEST(flexible_answer(std::string(1'000'000, '-') + "5") == "-5");
}
