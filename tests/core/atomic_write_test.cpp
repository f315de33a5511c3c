#define BOOST_TEST_MODULE atomic_write
#include <linden/core/atomic_write.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

static_assert(!std::is_copy_constructible_v<AtomicFile>);

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
