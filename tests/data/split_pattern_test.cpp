#define BOOST_TEST_MODULE split_pattern
#include <linden/data/split_pattern.hpp>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <linden/data/tiktoken_file.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;
using Pieces = std::vector<std::string>;

namespace {
Pieces cut(const SplitPattern& pattern, std::string_view text) {
  Pieces pieces;
  pattern.for_each_piece(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}
void check(const std::string& text, const Pieces& expected) {
  static const SplitPattern llama3(llama3_pattern);
  BOOST_TEST(cut(llama3, text) == expected, boost::test_tools::per_element());
}
}  // namespace

BOOST_AUTO_TEST_CASE(cuts_as_llama_3_does) {
  check("", {});
  check("Hello world's  end", {"Hello", " world", "'s", " ", " end"});
  check("I'LL don't", {"I", "'LL", " don", "'t"});
  check("12345678", {"123", "456", "78"});
  check("a\r\n\n b \n", {"a", "\r\n\n", " b", " \n"});
  check("x = 4;\n\ty", {"x", " =", " ", "4", ";\n", "\ty"});
  check("   ", {"   "});
}

BOOST_AUTO_TEST_CASE(classes_and_cases_are_those_of_unicode) {
  check("it'\xC5\xBF", {"it", "'\xC5\xBF"});                              // long s is an s
  check("\xE2\x84\xAA'\xE2\x84\xAA", {"\xE2\x84\xAA", "'\xE2\x84\xAA"});  // Kelvin sign, a letter; no contraction
  check("e\xCC\x81x", {"e", "\xCC\x81x"});                                // a combining mark is no letter
  check("\xD9\xA3\xD9\xA4\xD9\xA5\xD9\xA6", {"\xD9\xA3\xD9\xA4\xD9\xA5", "\xD9\xA6"});  // Arabic digits, three at most
  check("!\xE3\x80\x80\xE3\x80\x80\x21", {"!", "\xE3\x80\x80", "\xE3\x80\x80", "!"});   // ideographic spaces
  check("!\xC2\x85!", {"!", "\xC2\x85", "!"});
  check("!\xE1\xA0\x8E!", {"!\xE1\xA0\x8E!"});  // U+180E is no space
}

BOOST_AUTO_TEST_CASE(escapes_before_s_are_left_alone) {
  BOOST_TEST(cut(SplitPattern("\\\\s"), "a\\sb c") == (Pieces{"a", "\\s", "b c"}), boost::test_tools::per_element());
  BOOST_TEST(cut(SplitPattern("[\\s-]\\S"), "a-b c") == (Pieces{"a", "-b", " c"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(bad_patterns_are_refused) {
  refused<DataError>([] { SplitPattern p("[a"); }, {"regular expression [a does not compile: missing terminating ]"});
  refused<DataError>([] { SplitPattern p("a|"); }, {"split pattern a| may match nothing at all"});
  refused<DataError>([] { SplitPattern p("\xFF"); }, {"does not compile: UTF-8 error"});
}

BOOST_AUTO_TEST_CASE(a_pattern_that_gives_up_says_so) {
  const SplitPattern exponential("(?:a+)+[bc]");
  refused<DataError>([&] { (void)cut(exponential, std::string(64, 'a')); },
                     {"gives up on a text of 64 bytes: match limit"});
}

BOOST_AUTO_TEST_CASE(long_runs_take_time_in_proportion) {
  const SplitPattern llama3(llama3_pattern);
  const auto start = std::chrono::steady_clock::now();
  for (const char* part : {" ", "\n", "\xE3\x80\x80", "a", "!", "1", " \n"}) {
    std::string text;
    while (text.size() < 1'000'000) text += part;
    std::size_t bytes = 0;
    for (const auto& piece : cut(llama3, text + "x")) bytes += piece.size();
    BOOST_TEST(bytes == text.size() + 1);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  BOOST_TEST(taken.count() < 20.0);
}
