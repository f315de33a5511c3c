#pragma once
/// \file
/// What a killed run goes on from: the states it saved, and its metrics up to one of them.
/// Format  DIR/state/step-000000000500.safetensors (train/fine_tune_state.hpp); the last two are kept, none of a finished run
/// Errors  DataError naming the file or folder.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace linden::examples {

/// The saved states of a run's folder.
class RunStates {
 public:
  explicit RunStates(const std::filesystem::path& run) : folder_(run / "state") {}

  /// Files, newest first.
  [[nodiscard]] std::vector<std::filesystem::path> newest_first() const {
    std::vector<std::filesystem::path> files;
    if (!std::filesystem::is_directory(folder_)) return files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with("step-")) files.push_back(entry.path());
    std::ranges::sort(files, std::greater());  // their numbers have one width
    return files;
  }
  /// Calls write(file) for the state after so many steps, then removes all but the last two.
  template <class Write>
  void save(std::size_t steps, Write&& write) const {
    std::filesystem::create_directory(folder_);  // in a run's folder that is there, or not at all
    char name[64];
    std::snprintf(name, sizeof name, "step-%012zu.safetensors", steps);
    write(folder_ / name);
    const auto files = newest_first();
    for (std::size_t k = 2; k < files.size(); ++k) std::filesystem::remove(files[k]);
  }
  /// Also removes what a process that was killed while it wrote has left.
  void remove_all() const { std::filesystem::remove_all(folder_); }

 private:
  std::filesystem::path folder_;
};

/// Shortens a run's metrics to its first `steps` steps. \return their records.
inline std::vector<nlohmann::ordered_json> keep_metrics(const std::filesystem::path& file, std::size_t steps) {
  std::vector<nlohmann::ordered_json> kept;
  std::ifstream lines(file);
  std::string text_kept;
  for (std::string line; kept.size() < steps && std::getline(lines, line);) {
    auto record = nlohmann::ordered_json::parse(line, nullptr, false);
    if (!record.is_object() || record.value("step", nlohmann::ordered_json()) != kept.size() + 1) break;
    kept.push_back(std::move(record));
    text_kept += line + '\n';
  }
  if (kept.size() < steps)
    throw DataError(text(file.string(), ": line ", kept.size() + 1, " is not the record of step ", kept.size() + 1,
                         ", expected those of the ", steps, " steps before the state that the run goes on from"));
  write_atomically(file, std::string_view(text_kept));
  return kept;
}

}  // namespace linden::examples
