#define BOOST_TEST_MODULE regular_expression
#include <linden/core/regular_expression.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <string>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

BOOST_AUTO_TEST_CASE(whole_texts_match) {
  const RegularExpression either("a|ab");
  BOOST_TEST((either.matches("a") && either.matches("ab")));  // tries on where the first alternative is too short
  BOOST_TEST((!either.matches("abc") && !either.matches("cab") && !either.matches("")));
  BOOST_TEST(RegularExpression("").matches(""));
  BOOST_TEST(RegularExpression("\\w\\d").matches("\u00e9\u0663"));  // Unicode letters and digits
  BOOST_TEST(!RegularExpression("^a$").matches("a\n"));
}

BOOST_AUTO_TEST_CASE(first_match_from_an_offset_on) {
  const RegularExpression number("(?<=\\.)\\d+");
  const std::string path = "1.layers.20.x.3";
  const auto first = number.find(path);
  BOOST_REQUIRE(first.has_value());
  BOOST_TEST((first->begin == 9 && first->end == 11));
  BOOST_TEST((number.find(path, 9)->begin == 9));  // sees the dot before the offset
  BOOST_TEST((number.find(path, 11)->begin == 14));
  BOOST_TEST(!number.find(path, 15).has_value());
  const RegularExpression copy = number;
  BOOST_TEST(copy.pattern() == "(?<=\\.)\\d+");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_run_is_refused) {
  expect_refusal<DataError>([] { RegularExpression("q(_proj"); }, "regular expression q(_proj does not compile",
                            "missing closing parenthesis", "at byte 7");
  const RegularExpression slow("(a+)+$");
  expect_refusal<DataError>([&] { (void)slow.matches(std::string(60, 'a') + "b"); }, "gives up on a text of 61 bytes");
}
