#pragma once
/// \file
/// Where tests find their numbers: golden JSON files beside the tests, and the larger shared folder (models, data)
/// that a clone may lack. A test that needs the shared folder skips with a printed reason where it is absent.

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace linden::test {

/// The JSON file `name` of tests/golden.
inline nlohmann::json golden(const std::string& name) {
  const auto path = std::filesystem::path(LINDEN_TEST_DIR) / "golden" / name;
  std::ifstream file(path);
  BOOST_REQUIRE_MESSAGE(file, "cannot open " << path);
  return nlohmann::json::parse(file);
}

/// The shared folder: $LINDEN_SHARED, or shared/ beside the project.
inline std::filesystem::path shared_folder() {
  if (const char* given = std::getenv("LINDEN_SHARED")) return given;
  return std::filesystem::path(LINDEN_TEST_DIR).parent_path().parent_path() / "shared";
}

/// Enables a test case where `relative` exists in the shared folder; elsewhere it is reported as skipped, with the reason.
/// Use: BOOST_AUTO_TEST_CASE(name, *boost::unit_test::precondition(needs_shared("models/stories260K")))
inline auto needs_shared(std::string relative) {
  return [relative = std::move(relative)](boost::unit_test::test_unit_id) {
    boost::test_tools::assertion_result here = std::filesystem::exists(shared_folder() / relative);
    here.message() << "SKIPPED: " << relative << " is not in the shared folder (set LINDEN_SHARED)";
    return here;
  };
}

/// |found - expected| / max(|expected|, floor), the error golden tolerances are stated in.
inline double relative_error(double found, double expected, double floor = 1e-30) {
  return std::abs(found - expected) / std::max(std::abs(expected), floor);
}

}  // namespace linden::test
