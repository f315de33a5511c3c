#pragma once
/// \file
/// What lets a killed run go on: the states it saved, its metrics up to one of them, the signals that ask it to stop, and the lock
/// that keeps a second run out of its folder.
/// Format  DIR/state/step-00000500.safetensors (train/fine_tune_state.hpp); the last two are kept, none of a finished run
/// Errors  DataError naming the file or folder.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
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
    std::filesystem::create_directories(folder_);
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

/// Holds a run's folder for this process until it is destroyed (or the process ends, however it does).
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& run) {
    std::filesystem::create_directories(run);
    const auto file = run / ".lock";
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw DataError(text(file.string(), ": cannot be created: ", std::generic_category().message(errno)));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    ::close(descriptor_);
    throw DataError(text(run.string(), ": another process is training here; wait for it, or give another folder"));
  }
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock() { ::close(descriptor_); }

 private:
  int descriptor_;
};

namespace detail {
inline volatile std::sig_atomic_t stop_signal = 0;
}

/// While it lives, the first SIGINT or SIGTERM is remembered; a second one ends the process as it would have.
class StopSignals {
 public:
  StopSignals() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { detail::stop_signal = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    ::sigaction(SIGINT, &action, &before_[0]);
    ::sigaction(SIGTERM, &action, &before_[1]);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    ::sigaction(SIGINT, &before_[0], nullptr);
    ::sigaction(SIGTERM, &before_[1], nullptr);
  }
  [[nodiscard]] bool received() const { return detail::stop_signal != 0; }

 private:
  struct sigaction before_[2] {};
};

}  // namespace linden::examples
