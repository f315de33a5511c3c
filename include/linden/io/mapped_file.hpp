#pragma once
/// \file
/// A file's bytes, mapped read-only into memory: nothing is read before it is looked at, and large weight files
/// are shared with other processes.
/// Errors  DataError naming the file when it cannot be opened, is not a regular file or is empty. A file that another
///         process shortens while it is mapped raises SIGBUS, as with every mapping; writers that rename are safe.
/// Source  POSIX.1-2017, open, fstat, mmap.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <linden/core/error.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace linden {

/// True when something is at `path`; false when it cannot be looked at, so that opening it tells why.
[[nodiscard]] inline bool file_exists(const std::filesystem::path& path) noexcept {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Owns one read-only mapping; movable, and spans taken from it stay valid when it moves.
class MappedFile {
 public:
  /// Maps the whole of `path`, which must be a non-empty regular file.
  explicit MappedFile(const std::filesystem::path& path) {
    const Descriptor file(path);
    struct stat about {};
    if (::fstat(file.number, &about) != 0) fail(path, "cannot be examined", errno);
    if (S_ISDIR(about.st_mode)) throw DataError(text(path.string(), ": is a directory, expected a file"));
    if (!S_ISREG(about.st_mode)) throw DataError(text(path.string(), ": is not a regular file"));
    if (about.st_size == 0) throw DataError(text(path.string(), ": file is empty"));
    size_ = static_cast<std::size_t>(about.st_size);
    address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (address_ == MAP_FAILED) fail(path, "cannot be mapped", errno);
  }

  /// Takes the mapping over.
  MappedFile(MappedFile&& other) noexcept
      : address_(std::exchange(other.address_, MAP_FAILED)), size_(std::exchange(other.size_, 0)) {}
  /// Changes places with the other.
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (address_ != MAP_FAILED) ::munmap(address_, size_);
  }

  /// The file's content; empty only after a move from here.
  [[nodiscard]] std::span<const std::byte> bytes() const {
    if (address_ == MAP_FAILED) return {};
    return {static_cast<const std::byte*>(address_), size_};
  }
  /// The same bytes as characters.
  [[nodiscard]] std::string_view characters() const {
    if (address_ == MAP_FAILED) return {};
    return {static_cast<const char*>(address_), size_};
  }

 private:
  [[noreturn]] static void fail(const std::filesystem::path& path, const char* what, int error) {
    throw DataError(text(path.string(), ": ", what, ": ", std::generic_category().message(error)));
  }

  /// The open file, needed only until the mapping exists.
  struct Descriptor {
    int number;
    // Without O_NONBLOCK, opening a named pipe by mistake would wait for a writer for ever.
    explicit Descriptor(const std::filesystem::path& path)
        : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
      if (number < 0) fail(path, "cannot be opened", errno);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { ::close(number); }
  };

  void* address_ = MAP_FAILED;
  std::size_t size_ = 0;
};

}  // namespace linden
