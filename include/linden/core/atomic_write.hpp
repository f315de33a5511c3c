#pragma once
/// \file
/// Files that are either wholly written or not there: bytes go to a temporary name in the same directory, are flushed
/// to the disk, and are then renamed over the final name. A crash leaves the old file (or none), never half of one.
/// Errors  DataError naming the file; the temporary file is removed and an existing file stays as it was.
/// Source  POSIX.1-2017, open, write, fsync, rename. A symbolic link at the final name is replaced, not followed.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <linden/core/error.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace linden {

namespace detail {

/// A hidden name beside `path` that no other thread or process of this machine is using.
[[nodiscard]] inline std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned long> count{0};
  return path.parent_path() / text(".", path.filename().string(), ".", ::getpid(), ".", count++, ".tmp");
}

/// Makes a rename inside `directory` last through a power cut. Some file systems refuse to flush a directory; the file
/// is whole all the same, so that is no error.
inline void flush_directory(const std::filesystem::path& directory) noexcept {
  const int descriptor = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace detail

/// A file being written; appears under its name at `commit()`, and not at all without it.
class AtomicFile {
 public:
  /// Opens a temporary file beside `path`; the directory must exist.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    if (!path_.has_filename()) throw DataError(text(path_.string(), ": is a directory name, expected a file name"));
    do {  // a crashed process with our number may have left the name behind
      temporary_ = detail::temporary_beside(path_);
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) fail("cannot be created", errno);
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  /// Appends `bytes`.
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("cannot be written", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  /// Appends `characters`.
  void write(std::string_view characters) { write(std::as_bytes(std::span(characters))); }

  /// Puts the file under its final name, replacing what was there. Call once, last.
  void commit() {
    if (::fsync(descriptor_) != 0) fail("cannot be flushed", errno);
    if (::close(std::exchange(descriptor_, -1)) != 0) fail("cannot be closed", errno);
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be put in place", errno);
    committed_ = true;
    detail::flush_directory(path_.parent_path());
  }

 private:
  [[noreturn]] void fail(const char* what, int error) const {
    throw DataError(text(path_.string(), ": ", what, ": ", std::generic_category().message(error)));
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Writes `content` (bytes or characters) as the whole of `path`.
template <class Content>
void write_atomically(const std::filesystem::path& path, const Content& content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace linden
