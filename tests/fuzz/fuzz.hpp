#pragma once
/// \file
/// What the fuzz targets share: the input as a file where a reader looks for it, and what is expected of every reader.
/// Rule    a reader takes the file or throws a linden::Error that names the file; while it reads it holds no more memory than
///         `memory_per_byte` times the file's size, besides `memory_floor`.
/// Errors  the process ends, as libFuzzer wants it; any other exception ends it too.

#include <sanitizer/allocator_interface.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>
#include <string>
#include <string_view>
#include <system_error>

namespace linden::test {

/// A parsed JSON value takes up to some 40 times its text: "[[],[]," is 3 bytes a list of 40.
inline constexpr std::size_t memory_per_byte = 100;
/// For what does not depend on the file: a compiled regular expression, the tables of a vocabulary, streams.
inline constexpr std::size_t memory_floor = 4U << 20U;

/// Ends the process with `message` unless `holds`.
inline void expect(bool holds, const std::string& message) {
  if (holds) return;
  std::fprintf(stderr, "expected: %s\n", message.c_str());
  std::abort();
}

/// Counts the memory that is allocated while it lives; one at a time.
class MemoryWatch {
 public:
  MemoryWatch() {
    [[maybe_unused]] static const int installed = __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t size) { grow(static_cast<long>(size)); },
        [](const volatile void* pointer) { grow(-static_cast<long>(__sanitizer_get_allocated_size(pointer))); });
    held = most = 0;
  }
  /// The most bytes that were held at one time.
  [[nodiscard]] static std::size_t peak() { return static_cast<std::size_t>(most); }

 private:
  static void grow(long bytes) {
    held += bytes;
    if (held > most) most = held.load();
  }
  static inline std::atomic<long> held = 0, most = 0;
};

/// A folder of this process, in memory where there is such a place, for an input and the files that stand beside it.
class FuzzFolder {
 public:
  /// `name` is the file the inputs become.
  explicit FuzzFolder(const std::string& name) {
    std::error_code ignored;
    const std::filesystem::path memory = "/dev/shm";
    std::string place = ((std::filesystem::is_directory(memory, ignored) ? memory : std::filesystem::temp_directory_path()) /
                         "linden_fuzz_XXXXXX")
                            .string();
    expect(::mkdtemp(place.data()) != nullptr, "a folder for the input");
    folder_ = place;
    file_ = folder_ / name;
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

  /// Puts `content` at `name`.
  void write(const std::filesystem::path& name, std::string_view content) const {
    std::ofstream(folder_ / name, std::ios::binary | std::ios::trunc).write(content.data(), static_cast<std::streamsize>(content.size()));
  }

  /// The input, as the file, is read by `read(file)`, and what was read is looked at by `check`. \return 0, for libFuzzer.
  template <class Read, class Check>
  int offer(const std::uint8_t* data, std::size_t size, Read read, Check check) const {
    write(file_, {reinterpret_cast<const char*>(data), size});
    try {
      const MemoryWatch memory;
      const auto value = read(file_);
      expect(memory.peak() <= memory_floor + memory_per_byte * size,
             text("at most ", memory_floor + memory_per_byte * size, " bytes of memory for a file of ", size, ", found ", memory.peak()));
      check(value);
    } catch (const Error& error) {
      const std::string_view message = error.what();
      expect(message.find(folder_.string()) != std::string_view::npos, text("a message that names the file, found ", message));
    }
    return 0;
  }

 private:
  std::filesystem::path folder_, file_;
};

}  // namespace linden::test
