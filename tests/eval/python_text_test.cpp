#define BOOST_TEST_MODULE python_text
#include <linden/eval/python_text.hpp>

#include <boost/test/unit_test.hpp>
#include <string>

using namespace linden;

// Expected values from CPython 3.11.
BOOST_AUTO_TEST_CASE(strips_every_kind_of_space) {
  BOOST_TEST(python_strip("  a b \n") == "a b");
  BOOST_TEST(python_strip("\u00A0\u2003\u3000a\u00A0") == "a");
  BOOST_TEST(python_strip("\x1C\x1F a\x85") == "a\x85");  // a lone byte 85 is no character
  BOOST_TEST(python_strip("\u0085a") == "a");
  BOOST_TEST(python_strip("\u200Ba") == "\u200Ba");  // zero width space is none
  BOOST_TEST(python_strip(" \t") == "");
  BOOST_TEST(python_strip("") == "");
  BOOST_TEST(python_rstrip("  a \u2003") == "  a");
  BOOST_TEST(python_rstrip("   ") == "");
}

BOOST_AUTO_TEST_CASE(capitalizes_the_first_character_and_lowers_all_others) {
  BOOST_TEST(python_capitalize("he PUTS a Wok.") == "He puts a wok.");
  BOOST_TEST(python_capitalize(" he") == " he");
  BOOST_TEST(python_capitalize("") == "");
  BOOST_TEST(python_capitalize("\u00E9COLE \u00C9T\u00C9") == "\u00C9cole \u00E9t\u00E9");
  BOOST_TEST(python_capitalize("\u0436\u0423\u041A \u0401") == "\u0416\u0443\u043A \u0451");
  BOOST_TEST(python_capitalize("\u03BBO\u0393OS \u038A") == "\u039Bo\u03B3os \u03AF");
  BOOST_TEST(python_capitalize("\u0161\u0160\u017D\u0139\u1EC6") == "\u0160\u0161\u017E\u013A\u1EC7");
  BOOST_TEST(python_capitalize("\u00D7\u00F7 \u4E2D") == "\u00D7\u00F7 \u4E2D");  // signs between the letters
  BOOST_TEST(python_capitalize("\xFF\xC3") == "\xFF\xC3");
}

BOOST_AUTO_TEST_CASE(replaces_once_from_the_left) {
  const auto replaced = [](std::string in, std::string_view from, std::string_view to) {
    python_replace(in, from, to);
    return in;
  };
  BOOST_TEST(replaced("a   b", "  ", " ") == "a  b");
  BOOST_TEST(replaced("a    b", "  ", " ") == "a  b");
  BOOST_TEST(replaced("aa", "a", "aa") == "aaaa");
}

BOOST_AUTO_TEST_CASE(counts_code_points) {
  BOOST_TEST(python_length("caf\u00E9 \U0001F600") == 6U);
  BOOST_TEST(python_length("") == 0U);
}
