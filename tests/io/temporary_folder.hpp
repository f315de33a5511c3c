#pragma once
/// \file
/// A folder of a test's own, gone when the test ends, and helpers to put files there and to check refusals.

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace linden::test {

/// An empty folder, removed with its content.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("linden_test_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Puts a file with `content` at `name`, in a sub-folder if the name has one.
  std::filesystem::path file(const std::string& name, std::string_view content) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
    return path;
  }

  /// Number of entries, hidden ones too: temporary files left behind would show.
  [[nodiscard]] long entries() const {
    return std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator());
  }

 private:
  std::filesystem::path path_;
};

/// All bytes of a file.
inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  BOOST_REQUIRE_MESSAGE(file, "cannot open " << path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Checks that `call` throws Failure with every one of `fragments` in its message.
template <class Failure, class Call, class... Fragments>
void expect_refusal(Call call, const Fragments&... fragments) {
  std::string message;
  try {
    call();
  } catch (const Failure& error) {
    message = error.what();
  }
  BOOST_CHECK_MESSAGE(!message.empty(), "nothing was refused, expected: " << (std::string(fragments) + ... + ""));
  const auto check = [&](const std::string& fragment) {
    BOOST_CHECK_MESSAGE(message.find(fragment) != std::string::npos, "'" << message << "' lacks '" << fragment << "'");
  };
  (check(fragments), ...);
}

}  // namespace linden::test
