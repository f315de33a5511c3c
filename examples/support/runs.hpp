#pragma once
/// \file
/// The record of a run, run.json in the run's folder: with which settings, how far, at what cost.
/// Format  {"settings": {...}, "finished": bool, "totals": {...}}; written when the run begins, without totals, and
///         again when all else is on the disk. So "finished": true means that the folder is complete.
/// Rule    a folder belongs to its settings: a finished run is not repeated, an unfinished one starts over or goes on, and neither
///         is touched by a run with other settings. A setting called "path" says where something was, not what it was,
///         and is not compared.
/// Errors  UsageError for a folder that holds something else; DataError for a run.json that cannot be understood.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <linden/core/error.hpp>    // UsageError, text
#include <linden/io/json_file.hpp>  // read_json, write_json, JsonObject
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace linden::examples {

/// What run.json says.
struct RunRecord {
  std::filesystem::path folder;
  nlohmann::json settings;
  bool finished = false;
  nlohmann::json totals{};  ///< null before the run is finished
  double learning_rate = 0;
  std::uint64_t seed = 0;
};

/// What a whole run took.
struct RunTotals {
  std::size_t steps = 0, tokens = 0;
  double epochs = 0;      ///< passes over the data
  double seconds = 0;     ///< of all optimiser steps
  double final_loss = 0;  ///< of the last step, nats per target
  nlohmann::json processes{};  ///< an object a process: what it spent on computing and on the others; null where nobody asked
};

enum class RunState { fresh, unfinished, finished };

namespace detail {

inline std::filesystem::path record_file(const std::filesystem::path& folder) { return folder / "run.json"; }

/// What the two sides of a comparison are called.
using Sides = std::array<std::string, 2>;

inline void add_differences(const nlohmann::json& recorded, const nlohmann::json& given, const Sides& sides, const std::string& prefix,
                            std::vector<std::string>& list) {
  std::set<std::string> keys;
  for (const auto* object : {&recorded, &given})
    for (const auto& item : object->items()) keys.insert(item.key());
  keys.erase("path");
  const auto shown = [](const nlohmann::json& value) {
    return value.is_null() ? "nothing" : value.dump(-1, ' ', true);
  };
  for (const std::string& key : keys) {
    const nlohmann::json a = recorded.value(key, nlohmann::json()), b = given.value(key, nlohmann::json());
    if (a.is_object() && b.is_object())
      add_differences(a, b, sides, prefix + key + ".", list);
    else if (a != b)
      list.push_back(text(prefix, key, " ", shown(a), " ", sides[0], ", ", shown(b), " ", sides[1]));
  }
}

}  // namespace detail

/// "learning_rate 0.1 there, 0.2 here; rank 8 there, 16 here", or "" where two settings (objects) agree.
[[nodiscard]] inline std::string differing_settings(const nlohmann::json& there, const nlohmann::json& here,
                                                    const detail::Sides& sides = {"there", "here"}) {
  std::vector<std::string> list;
  detail::add_differences(there, here, sides, "", list);
  std::string line;
  for (const std::string& item : list) line += (line.empty() ? "" : "; ") + item;
  return line;
}

/// True when `folder` has a run.json.
[[nodiscard]] inline bool holds_run(const std::filesystem::path& folder) {
  return file_exists(detail::record_file(folder));
}

[[nodiscard]] inline RunRecord read_run(const std::filesystem::path& folder) {
  const auto file = detail::record_file(folder);
  const auto json = read_json(file);
  const JsonObject fields(json, file.string());
  const JsonObject settings = fields.object("settings");
  RunRecord run{.folder = folder, .settings = json.at("settings"), .finished = fields.flag("finished")};
  if (fields.has("totals")) run.totals = json.at("totals");
  run.learning_rate = settings.positive_number("learning_rate");
  run.seed = static_cast<std::uint64_t>(settings.integer("seed", 0, std::numeric_limits<long>::max()));
  return run;
}

/// What `folder` holds of the run with these settings.
[[nodiscard]] inline RunState examine_run(const std::filesystem::path& folder, const nlohmann::json& settings) {
  if (!holds_run(folder)) {
    for (const char* name : {"adapter_model.safetensors", "adapter_config.json", "metrics.jsonl"})
      if (file_exists(folder / name))
        throw UsageError(text(folder.string(), ": holds ", name, " but no run.json, so it is not known what made it; ",
                              "give another folder, or empty this one"));
    return RunState::fresh;
  }
  const RunRecord run = read_run(folder);
  const std::string differences = differing_settings(run.settings, settings);
  if (!differences.empty())
    throw UsageError(text(folder.string(), ": holds a run with other settings: ", differences,
                          "; give another folder, or empty this one"));
  return run.finished ? RunState::finished : RunState::unfinished;
}

/// Makes the folder and records the settings; from the start, it removes what an attempt that was not finished left.
inline void begin_run(const std::filesystem::path& folder, const nlohmann::json& settings, bool from_the_start = true) {
  std::filesystem::create_directories(folder);
  write_json(detail::record_file(folder), {{"settings", settings}, {"finished", false}});
  if (!from_the_start) return;
  std::filesystem::remove_all(folder / "state");  // first: a state without its metrics could not be gone on from
  std::filesystem::remove(folder / "metrics.jsonl");
}

/// The most memory the process has had so far, in bytes. In a process with several runs: of all of them until now.
[[nodiscard]] inline std::uint64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

/// Records that all files of the run are written; call last. A loss that is not finite becomes null.
inline void finish_run(const std::filesystem::path& folder, const nlohmann::json& settings, const RunTotals& totals) {
  const double speed = totals.seconds > 0 ? static_cast<double>(totals.tokens) / totals.seconds : 0;
  nlohmann::json record{{"settings", settings},
                        {"finished", true},
                        {"totals",
                         {{"steps", totals.steps},
                          {"epochs", totals.epochs},
                          {"tokens", totals.tokens},
                          {"seconds", totals.seconds},
                          {"tokens_per_second", speed},
                          {"final_loss", totals.final_loss},
                          {"peak_memory_bytes", peak_memory_bytes()}}}};
  if (!totals.processes.is_null()) record["totals"]["processes"] = totals.processes;
  write_json(detail::record_file(folder), record);
}

/// The runs in `folder` itself and in its sub-folders (not deeper), by learning rate, then seed.
[[nodiscard]] inline std::vector<RunRecord> list_runs(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) throw DataError(text(folder.string(), ": is not a directory"));
  std::vector<RunRecord> runs;
  if (holds_run(folder)) runs.push_back(read_run(folder));
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_directory() && holds_run(entry.path())) runs.push_back(read_run(entry.path()));
  std::ranges::sort(runs, {}, [](const RunRecord& run) { return std::pair(run.learning_rate, run.seed); });
  return runs;
}

}  // namespace linden::examples
