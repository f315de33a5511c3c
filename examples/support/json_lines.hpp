#pragma once
/// \file
/// A file of records, one JSON object a line, written as a run goes (metrics.jsonl): what is written stays readable
/// when the run is killed, and a resumed run appends. Errors  DataError naming the file when it cannot be opened or
/// written. Numbers that are not finite become null.

#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>  // DataError, text
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace linden::examples {

/// Appends records to a file, flushed line by line.
class JsonLines {
 public:
  /// Opens `path`, creating it (not its folder) where it does not exist. A last line that a killed run left without
  /// its end is closed, so that new records stand on lines of their own.
  explicit JsonLines(std::filesystem::path path) : path_(std::move(path)) {
    const bool unfinished = lacks_last_newline();
    file_.open(path_, std::ios::app | std::ios::binary);
    if (!file_) throw DataError(text(path_.string(), ": cannot be opened for writing"));
    if (unfinished) append("\n");
  }

  /// Appends one record; keys keep their order: write({{"step", 3}, {"loss", 2.31}}).
  void write(const nlohmann::ordered_json& record) { append(record.dump() + '\n'); }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  [[nodiscard]] bool lacks_last_newline() const {
    std::ifstream file(path_, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() == std::streampos(0)) return false;
    file.seekg(-1, std::ios::end);
    return file.get() != '\n';
  }

  void append(const std::string& line) {
    file_.write(line.data(), static_cast<std::streamsize>(line.size()));
    if (!file_.flush()) throw DataError(text(path_.string(), ": cannot be written; is the disk full?"));
  }

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace linden::examples
