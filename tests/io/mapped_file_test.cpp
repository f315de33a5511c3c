#define BOOST_TEST_MODULE mapped_file
#include <linden/io/mapped_file.hpp>
// (first: it must stand alone)
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

static_assert(std::is_nothrow_move_constructible_v<MappedFile> && !std::is_copy_constructible_v<MappedFile>);

BOOST_AUTO_TEST_SUITE(mapped_file)

BOOST_AUTO_TEST_CASE(shows_the_bytes_of_the_file) {
  const TemporaryFolder folder;
  const std::string content("a\0b\xff", 4);
  const MappedFile file(folder.file("x.bin", content));
  BOOST_TEST(file.characters() == content);
  BOOST_REQUIRE_EQUAL(file.bytes().size(), 4U);
  BOOST_TEST((file.bytes()[3] == std::byte{0xff}));
}

BOOST_AUTO_TEST_CASE(spans_survive_moves) {
  const TemporaryFolder folder;
  MappedFile first(folder.file("x", "first"));
  const auto seen = first.characters();
  MappedFile second(std::move(first));
  MappedFile third(folder.file("y", "third"));
  third = std::move(second);
  BOOST_TEST(third.characters() == "first");
  BOOST_TEST(seen == "first");
  BOOST_TEST(seen.data() == third.characters().data());
}

BOOST_AUTO_TEST_CASE(refuses_what_is_not_a_file_with_content) {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "missing.bin";
  expect_refusal<DataError>([&] { MappedFile file(missing); }, missing.string(), "cannot be opened", "No such file");
  expect_refusal<DataError>([&] { MappedFile file(folder.path()); }, folder.path().string(), "is a directory");
  const auto empty = folder.file("empty.bin", "");
  expect_refusal<DataError>([&] { MappedFile file(empty); }, empty.string(), "file is empty");
  const auto pipe = folder.path() / "pipe";
  BOOST_REQUIRE_EQUAL(::mkfifo(pipe.c_str(), 0600), 0);
  expect_refusal<DataError>([&] { MappedFile file(pipe); }, pipe.string(), "is not a regular file");
}

BOOST_AUTO_TEST_SUITE_END()
