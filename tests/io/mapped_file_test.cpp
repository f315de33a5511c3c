#define BOOST_TEST_MODULE mapped_file
#include <linden/io/mapped_file.hpp>
// (first: it must stand alone)
#include <sys/stat.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <linden/io/atomic_write.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

static_assert(std::is_nothrow_move_constructible_v<MappedFile> && !std::is_copy_constructible_v<MappedFile>);
static_assert(!std::is_copy_constructible_v<AtomicFile>);

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

BOOST_AUTO_TEST_SUITE(atomic_write)

BOOST_AUTO_TEST_CASE(writes_and_replaces_whole_files) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.txt";
  write_atomically(path, std::string("first, and longer"));
  BOOST_TEST(content_of(path) == "first, and longer");
  write_atomically(path, std::vector<std::byte>{std::byte{0}, std::byte{200}});
  BOOST_TEST(content_of(path) == std::string("\0\xc8", 2));
  BOOST_TEST(folder.entries() == 1);  // no temporary file stays
}

BOOST_AUTO_TEST_CASE(an_abandoned_file_never_appears) {
  const TemporaryFolder folder;
  const auto path = folder.file("out.txt", "old");
  {
    AtomicFile file(path);
    file.write(std::string_view("half of the new con"));
    BOOST_TEST(folder.entries() == 2);
    BOOST_TEST(content_of(path) == "old");
  }
  BOOST_TEST(folder.entries() == 1);
  BOOST_TEST(content_of(path) == "old");
}

BOOST_AUTO_TEST_CASE(new_files_get_the_usual_permissions) {
  const TemporaryFolder folder;
  const auto plain = folder.file("plain", "x");
  write_atomically(folder.path() / "atomic", std::string("x"));
  using std::filesystem::status;
  BOOST_TEST((status(plain).permissions() == status(folder.path() / "atomic").permissions()));
}

BOOST_AUTO_TEST_CASE(failures_name_the_file) {
  const TemporaryFolder folder;
  const auto nowhere = folder.path() / "no_such_folder" / "out.txt";
  expect_refusal<DataError>([&] { write_atomically(nowhere, std::string("x")); }, nowhere.string(),
                            "cannot be created");
  const auto directory = folder.file("taken/inside", "x").parent_path();
  expect_refusal<DataError>([&] { write_atomically(directory, std::string("x")); }, directory.string(),
                            "cannot be put in place");
  expect_refusal<DataError>([&] { write_atomically(directory / "", std::string("x")); }, "expected a file name");
  BOOST_TEST(folder.entries() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
