#define BOOST_TEST_MODULE input_file
#include <linden/core/input_file.hpp>
//
#include <boost/test/unit_test.hpp>
#include <string>

#include "io/temporary_folder.hpp"

using linden::DataError;
using linden::open_input;
using linden::test::expect_refusal;
using linden::test::TemporaryFolder;

BOOST_FIXTURE_TEST_CASE(a_file_is_read_from_its_first_byte, TemporaryFolder) {
  std::ifstream stream = open_input(file("a", "one\r\ntwo"));
  std::string line;
  std::getline(stream, line);
  BOOST_TEST(line == "one\r");
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_opened_is_told_with_the_reason, TemporaryFolder) {
  expect_refusal<DataError>([&] { (void)open_input(path() / "none"); }, (path() / "none").string(), "cannot be opened: No such file");
  expect_refusal<DataError>([&] { (void)open_input(path()); }, path().string(), "is a directory, expected a file");
  std::filesystem::create_symlink(path() / "loop", path() / "loop");
  expect_refusal<DataError>([&] { (void)open_input(path() / "loop"); }, "Too many levels of symbolic links");
}
