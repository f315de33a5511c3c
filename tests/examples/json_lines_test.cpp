#define BOOST_TEST_MODULE examples_json_lines
#include "support/json_lines.hpp"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

namespace {

using linden::examples::JsonLines;

/// A folder of its own for each test case, gone afterwards.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("linden_json_lines_" + std::to_string(getpid()));
  Folder() { std::filesystem::create_directory(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::string contents(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(each_record_is_on_disk_at_once_with_its_keys_in_order, Folder) {
  JsonLines metrics(path / "metrics.jsonl");
  metrics.write({{"step", 1}, {"loss", 2.5}, {"a", true}});
  BOOST_TEST(contents(metrics.path()) == "{\"step\":1,\"loss\":2.5,\"a\":true}\n");
  metrics.write({{"step", 2}});
  BOOST_TEST(contents(metrics.path()) == "{\"step\":1,\"loss\":2.5,\"a\":true}\n{\"step\":2}\n");
}

BOOST_FIXTURE_TEST_CASE(a_resumed_run_appends, Folder) {
  JsonLines(path / "metrics.jsonl").write({{"step", 1}});
  JsonLines(path / "metrics.jsonl").write({{"step", 2}});
  BOOST_TEST(contents(path / "metrics.jsonl") == "{\"step\":1}\n{\"step\":2}\n");
}

BOOST_FIXTURE_TEST_CASE(an_unfinished_last_line_does_not_spoil_the_next, Folder) {
  std::ofstream(path / "metrics.jsonl") << "{\"step\":1}\n{\"st";
  JsonLines(path / "metrics.jsonl").write({{"step", 2}});
  BOOST_TEST(contents(path / "metrics.jsonl") == "{\"step\":1}\n{\"st\n{\"step\":2}\n");
}

BOOST_FIXTURE_TEST_CASE(numbers_that_are_not_finite_become_null, Folder) {
  JsonLines(path / "metrics.jsonl").write({{"loss", std::numeric_limits<double>::quiet_NaN()}});
  BOOST_TEST(contents(path / "metrics.jsonl") == "{\"loss\":null}\n");
}

BOOST_FIXTURE_TEST_CASE(a_file_that_cannot_be_opened_is_named, Folder) {
  const auto file = path / "no_such_folder" / "metrics.jsonl";
  BOOST_CHECK_EXCEPTION(JsonLines{file}, linden::DataError, [&](const linden::DataError& error) {
    return std::string(error.what()) == file.string() + ": cannot be opened for writing";
  });
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error, *boost::unit_test::precondition([](boost::unit_test::test_unit_id) {
                       return std::filesystem::exists("/dev/full");
                     })) {
  JsonLines metrics("/dev/full");
  BOOST_CHECK_EXCEPTION(metrics.write({{"step", 1}}), linden::DataError, [](const linden::DataError& error) {
    return std::string(error.what()) == "/dev/full: cannot be written; is the disk full?";
  });
}
