#pragma once
/// \file
/// Writing a file so that a reader finds all of it or nothing.
/// Errors  DataError naming the file.

#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>
#include <string>
#include <system_error>

namespace linden {

/// Writes `content` beside `path`, then moves it into place; on failure `path` is as it was.
inline void write_whole(const std::filesystem::path& path, const std::string& content) {
  const std::filesystem::path partial = path.string() + ".partial";
  std::ofstream file(partial, std::ios::binary);
  file << content;
  file.close();
  std::error_code error, ignored;
  if (file) std::filesystem::rename(partial, path, error);
  if (file && !error) return;
  std::filesystem::remove(partial, ignored);
  throw DataError(text(path.string(), ": cannot be written", error ? ": " + error.message() : ""));
}

}  // namespace linden
