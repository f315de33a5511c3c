#pragma once
/// \file
/// Results per document and rank, one JSON object a line, written as an evaluation goes: an interrupted one finds there what it
/// has and computes only the rest.
/// Format  first line {"settings": {...}}; then {"doc": 3, "rank": 8, ...}, in any order; rank 0 is the base model alone.
/// Errors  UsageError where the file holds results of other settings, naming what differs; DataError for a file that is not one
///         of these. A last line that a killed run left unfinished is ignored.

#include <fstream>
#include <map>
#include <optional>
#include <utility>

#include "support/json_lines.hpp"
#include "support/runs.hpp"  // differing_settings

namespace linden::examples {

class DocumentResults {
 public:
  /// Opens or creates `path` for an evaluation with these settings (an object).
  DocumentResults(const std::filesystem::path& path, const nlohmann::json& settings) {
    const bool begun = file_exists(path) && read(path, settings);
    lines_.emplace(path);
    if (!begun) lines_->write({{"settings", settings}});
  }
  /// Keeps results in memory only.
  DocumentResults() = default;

  /// The result of a document at a rank, null if there is none yet.
  [[nodiscard]] const nlohmann::json* find(std::size_t document, int rank) const {
    const auto at = results_.find({document, rank});
    return at == results_.end() ? nullptr : &at->second;
  }
  /// Whether documents first to last - 1 have a result at each of the ranks.
  [[nodiscard]] bool has_all(std::size_t first, std::size_t last, std::span<const int> ranks) const {
    for (std::size_t document = first; document < last; ++document)
      if (!std::ranges::all_of(ranks, [&](int rank) { return find(document, rank) != nullptr; })) return false;
    return true;
  }
  /// Records a result, an object with "doc" and "rank". \return false: it was known already, and is not recorded again.
  bool add(const nlohmann::ordered_json& line) {
    const bool is_new = results_.try_emplace({line.at("doc"), line.at("rank")}, line).second;
    if (is_new && lines_) lines_->write(line);
    return is_new;
  }

 private:
  /// \return whether the file has its first line.
  bool read(const std::filesystem::path& path, const nlohmann::json& settings) {
    std::ifstream file(path, std::ios::binary);
    std::string line;
    bool begun = false;
    for (long number = 1; std::getline(file, line) && !file.eof(); ++number) {
      const std::string where = text(path.string(), ", line ", number);
      const nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (entry.is_discarded()) continue;  // cut off when a run was killed; the next run closed the line
      if (!begun) {
        check_settings(entry, settings, path);
        begun = true;
        continue;
      }
      const JsonObject fields(entry, where);
      const auto document = static_cast<std::size_t>(fields.integer("doc", 0, std::numeric_limits<long>::max()));
      results_.emplace(std::pair(document, static_cast<int>(fields.integer("rank", 0, 1 << 20))), entry);
    }
    return begun;
  }

  static void check_settings(const nlohmann::json& first, const nlohmann::json& settings, const std::filesystem::path& path) {
    if (!first.is_object() || !first.contains("settings") || !first.at("settings").is_object())
      throw DataError(text(path.string(), ", line 1: expected the settings of an evaluation"));
    const std::string differences = differing_settings(first.at("settings"), settings);
    if (!differences.empty())
      throw UsageError(text(path.string(), ": holds results of other settings: ", differences,
                            "; give another file, or remove this one"));
  }

  std::map<std::pair<std::size_t, int>, nlohmann::json> results_;
  std::optional<JsonLines> lines_;
};

}  // namespace linden::examples
