#pragma once
/// \file
/// The lock that keeps a second run out of a run's folder, and tells when the folder is gone.
/// Format  DIR/.lock, an empty file, held with flock: it is free as soon as the process ends, however it does
/// Errors  DataError naming the folder.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <linden/core/error.hpp>
#include <system_error>

namespace linden::examples {

/// Holds a run's folder for this process until it is destroyed (or the process ends, however it does).
class RunLock {
 public:
  /// Makes the folder where there is none.
  explicit RunLock(const std::filesystem::path& run) : file_(run / ".lock") {
    std::filesystem::create_directories(run);
    descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw DataError(text(file_.string(), ": cannot be created: ", std::generic_category().message(errno)));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    ::close(descriptor_);
    throw DataError(text(run.string(), ": another process is training here; wait for it, or give another folder"));
  }
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock() { ::close(descriptor_); }

  /// Refuses to go on in a folder that was removed or replaced meanwhile: what is written there would be half a run.
  void check() const {
    struct stat held {}, there {};
    const bool same = ::fstat(descriptor_, &held) == 0 && ::stat(file_.c_str(), &there) == 0 && held.st_ino == there.st_ino &&
                      held.st_dev == there.st_dev;
    if (!same) throw DataError(text(file_.parent_path().string(), ": was removed or replaced while a run was training in it"));
  }

 private:
  std::filesystem::path file_;
  int descriptor_;
};

}  // namespace linden::examples
