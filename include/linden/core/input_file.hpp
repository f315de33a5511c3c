#pragma once
/// \file
/// Opening a file that is read as a stream, line by line.
/// Errors  DataError naming the file, and why it cannot be opened.

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>
#include <system_error>

namespace linden {

/// The bytes of `path`, from the first on. A directory, which a stream would open, is refused.
[[nodiscard]] inline std::ifstream open_input(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw DataError(text(path.string(), ": is a directory, expected a file"));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw DataError(text(path.string(), ": cannot be opened: ", std::generic_category().message(errno)));
  return file;
}

}  // namespace linden
