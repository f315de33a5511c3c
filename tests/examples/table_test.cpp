#define BOOST_TEST_MODULE examples_table
#include "support/table.hpp"

#include <boost/test/unit_test.hpp>
#include <linden/core/error.hpp>
#include <sstream>

namespace {

using linden::examples::fixed;
using linden::examples::Table;

std::string printed(const Table& table) {
  std::ostringstream out;
  out << table;
  return out.str();
}

}  // namespace

BOOST_AUTO_TEST_CASE(numbers_line_up_right_and_words_left) {
  Table table({"method", "rank", "accuracy"});
  table.row("LoRA", 8, fixed(0.4125, 3)).row("MatryoshkaLoRA", 128, fixed(1, 3)).row("base", "-", "51%");
  BOOST_TEST(printed(table) ==
             "method          rank  accuracy\n"
             "--------------  ----  --------\n"
             "LoRA               8     0.412\n"
             "MatryoshkaLoRA   128     1.000\n"
             "base               -       51%\n");
}

BOOST_AUTO_TEST_CASE(one_word_makes_a_column_of_words) {
  BOOST_TEST(printed(Table({"a", "b"}).row(1, 2).row("ten", 3)) == "a    b\n---  -\n1    2\nten  3\n");
}

BOOST_AUTO_TEST_CASE(width_is_counted_in_characters_not_bytes) {
  BOOST_TEST(printed(Table({"name", "x"}).row("\xc3\xa9t\xc3\xa9s", 1).row("winter", 2)) ==
             "name    x\n------  -\n\xc3\xa9t\xc3\xa9s    1\nwinter  2\n");
}

BOOST_AUTO_TEST_CASE(no_line_ends_in_spaces) {
  BOOST_TEST(printed(Table({"name", "remark"}).row("a", "").row("b", "good")) ==
             "name  remark\n----  ------\na\nb     good\n");
}

BOOST_AUTO_TEST_CASE(another_number_of_cells_is_refused) {
  Table table({"rank", "accuracy"});
  BOOST_CHECK_EXCEPTION(table.row(8), linden::UsageError, [](const linden::UsageError& error) {
    return std::string(error.what()) == "Table: a row of 1 cells under a header of 2";
  });
  BOOST_TEST(printed(table) == "rank  accuracy\n----  --------\n");
}

BOOST_AUTO_TEST_CASE(fixed_rounds_to_the_digits_asked_for) {
  BOOST_TEST(fixed(0.5, 3) == "0.500");
  BOOST_TEST(fixed(-2.675, 1) == "-2.7");
  BOOST_TEST(fixed(12, 0) == "12");
}
