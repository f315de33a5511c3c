#pragma once
/// \file
/// Short names for what a run learned from, so that a continued run can tell whether it still is the same.
/// Units   16 hexadecimal digits, FNV-1a of 64 bits: against mistakes, not against attackers.
/// Errors  DataError naming a file that cannot be read, or a folder without weights.
/// Source  Fowler, Noll, Vo: draft-eastlake-fnv.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>   // DataError, text
#include <linden/data/sample.hpp>  // Sample
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace linden::examples {

/// The hash of all that was added, in order.
class Fingerprint {
 public:
  Fingerprint& add(std::string_view bytes) {
    for (const char c : bytes) state_ = (state_ ^ static_cast<unsigned char>(c)) * prime;
    return *this;
  }
  /// A number counts as its eight bytes, lowest first, on every machine.
  Fingerprint& add(std::int64_t number) {
    for (unsigned shift = 0; shift < 64; shift += 8)
      state_ = (state_ ^ ((static_cast<std::uint64_t>(number) >> shift) & 0xffU)) * prime;
    return *this;
  }
  [[nodiscard]] std::string hex() const {
    std::array<char, 17> digits{};
    std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(state_));
    return digits.data();
  }

 private:
  static constexpr std::uint64_t prime = 0x100000001b3;
  std::uint64_t state_ = 0xcbf29ce484222325;
};

/// Of the ids and labels of all samples, in order.
[[nodiscard]] inline std::string fingerprint_of(std::span<const Sample> samples) {
  Fingerprint print;
  for (const Sample& sample : samples) {
    print.add(static_cast<std::int64_t>(sample.ids.size()));
    for (const std::int32_t id : sample.ids) print.add(std::int64_t{id});
    for (const std::int32_t label : sample.labels) print.add(std::int64_t{label});
  }
  return print.hex();
}

namespace detail {

/// The size, and the first and the last mebibyte: trained weights differ everywhere, and large files take no longer.
inline void add_file(Fingerprint& print, const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0) throw DataError(text(path.string(), ": cannot be opened"));
  std::string part(static_cast<std::size_t>(std::min<std::streamoff>(size, std::streamoff{1} << 20)), '\0');
  print.add(path.filename().string()).add(std::int64_t{size});
  for (const std::streamoff begin : {std::streamoff{0}, size - static_cast<std::streamoff>(part.size())}) {
    file.seekg(begin);
    if (!file.read(part.data(), static_cast<std::streamsize>(part.size())))
      throw DataError(text(path.string(), ": cannot be read"));
    print.add(part);
  }
}

}  // namespace detail

/// Of all bytes of a file.
[[nodiscard]] inline std::string fingerprint_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  Fingerprint print;
  std::string part(std::size_t{1} << 20U, '\0');
  while (file.read(part.data(), static_cast<std::streamsize>(part.size())) || file.gcount() > 0)
    print.add(std::string_view(part).substr(0, static_cast<std::size_t>(file.gcount())));
  if (!file.eof()) throw DataError(text(path.string(), ": cannot be read"));
  return print.hex();
}

/// Of a directory's *.safetensors and its settings file: the files' names, sizes and ends.
[[nodiscard]] inline std::string fingerprint_of_weights(const std::filesystem::path& directory, const char* settings) {
  if (!std::filesystem::is_directory(directory)) throw DataError(text(directory.string(), ": is not a directory"));
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  if (files.empty()) throw DataError(text(directory.string(), ": has no *.safetensors"));
  std::ranges::sort(files);
  Fingerprint print;
  detail::add_file(print, directory / settings);
  for (const auto& file : files) detail::add_file(print, file);
  return print.hex();
}

/// Of a Hugging Face model directory.
[[nodiscard]] inline std::string fingerprint_of_model(const std::filesystem::path& directory) {
  return fingerprint_of_weights(directory, "config.json");
}

/// Of a PEFT directory.
[[nodiscard]] inline std::string fingerprint_of_adapter(const std::filesystem::path& directory) {
  return fingerprint_of_weights(directory, "adapter_config.json");
}

}  // namespace linden::examples
