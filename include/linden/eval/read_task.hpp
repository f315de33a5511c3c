#pragma once
/// \file
/// Tasks by name, read from files of JSON lines.
/// Errors  UsageError for a task that is not known; DataError naming file, line and field for files that are not what
///         they should be, and naming the files looked for where there are none.

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <linden/core/error.hpp>
#include <linden/core/input_file.hpp>
#include <linden/eval/arc_challenge.hpp>
#include <linden/eval/gsm8k.hpp>
#include <linden/eval/hellaswag.hpp>
#include <linden/eval/task.hpp>
#include <linden/io/json_file.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace linden {

/// Every task there is.
inline constexpr std::array<TaskDescription, 3> known_tasks{gsm8k_task, arc_challenge_task, hellaswag_task};

/// The task called `name`; throws UsageError with the names there are.
[[nodiscard]] inline const TaskDescription& task_description(std::string_view name) {
  std::string names;
  for (const TaskDescription& task : known_tasks) {
    if (task.name == name) return task;
    names += text(names.empty() ? "" : ", ", task.name);
  }
  throw UsageError(text("task \"", name, "\" is not known, expected one of: ", names));
}

/// The files of a task. Without shots no pool is needed, and it may be empty.
struct TaskFiles {
  std::filesystem::path documents, pool;  ///< JSON lines: questions, and what examples are drawn from
};

namespace detail {

/// The first of `names` that is in `folder`, an empty path if none is.
inline std::filesystem::path first_file(const std::filesystem::path& folder, std::span<const std::string_view> names) {
  for (const std::string_view name : names)
    if (!name.empty() && std::filesystem::is_regular_file(folder / name)) return folder / name;
  return {};
}

inline std::filesystem::path needed_file(const std::filesystem::path& folder, const TaskDescription& task,
                                         std::span<const std::string_view> names) {
  const std::filesystem::path found = first_file(folder, names);
  if (!found.empty()) return found;
  std::string list;
  for (const std::string_view name : names)
    if (!name.empty()) list += text(list.empty() ? "" : " or ", name);
  throw DataError(text(folder.string(), ": task ", task.name, " needs ", list, " here; there is no such file"));
}

}  // namespace detail

/// The files of a task in a folder, under the names it is known to have.
[[nodiscard]] inline TaskFiles find_task_files(const TaskDescription& task, const std::filesystem::path& folder,
                                               std::size_t shots) {
  return {detail::needed_file(folder, task, task.document_files),
          shots == 0 ? std::filesystem::path() : detail::needed_file(folder, task, task.pool_files)};
}

/// All rows of a file; blank lines are skipped.
[[nodiscard]] inline std::vector<TaskDocument> read_task_documents(const TaskDescription& task,
                                                                   const std::filesystem::path& path) {
  std::ifstream file = open_input(path);
  std::vector<TaskDocument> documents;
  std::string line;
  for (long number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = text(path.string(), ", line ", number);
    const nlohmann::json row = parse_json(line, where);
    documents.push_back(task.read(JsonObject(row, where)));
    documents.back().row_hash = std::hash<nlohmann::json>{}(row);
  }
  if (file.bad()) throw DataError(text(path.string(), ": cannot be read"));
  if (documents.empty()) throw DataError(text(path.string(), ": no rows"));
  return documents;
}

/// A task from its two files.
[[nodiscard]] inline Task read_task(const TaskDescription& task, const TaskFiles& files, std::size_t shots) {
  std::vector<TaskDocument> pool;
  if (shots > 0) pool = read_task_documents(task, files.pool);
  return Task(task, read_task_documents(task, files.documents), std::move(pool), shots);
}

/// A task from a folder.
[[nodiscard]] inline Task read_task(std::string_view name, const std::filesystem::path& folder, std::size_t shots) {
  const TaskDescription& task = task_description(name);
  return read_task(task, find_task_files(task, folder, shots), shots);
}

}  // namespace linden
