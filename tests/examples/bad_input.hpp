#pragma once
/// \file
/// A folder with good input for every program, and ways to spoil one file of it.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/run_program.hpp"
#include "io/temporary_folder.hpp"

namespace linden::test {

/// Names below a folder, each with its size (-1: not a file).
using Listing = std::map<std::string, long>;
inline Listing list(const std::filesystem::path& folder) {
  Listing found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    std::error_code ignored;
    const bool is_file = entry.is_regular_file(ignored);
    found[entry.path().string()] = is_file ? static_cast<long>(entry.file_size()) : -1;
  }
  return found;
}

/// One case's own copy of the good input: symbolic links, until a file is spoiled.
class Input : public TemporaryFolder {
 public:
  explicit Input(const std::filesystem::path& good) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(good)) {
      const auto place = path() / entry.path().lexically_relative(good);
      if (entry.is_directory())
        std::filesystem::create_directory(place);
      else
        std::filesystem::create_symlink(entry.path(), place);
    }
  }

  [[nodiscard]] std::string at(const std::string& name) const { return (path() / name).string(); }
  /// Replaces what is at `name`, or makes it.
  void put(const std::string& name, std::string_view content) const {
    remove(name);
    file(name, content);
  }
  void remove(const std::string& name) const { std::filesystem::remove_all(path() / name); }
  void edit(const std::string& name, const std::function<void(std::string&)>& change) const {
    std::string content = content_of(path() / name);
    change(content);
    put(name, content);
  }
  /// Sets a field, by its JSON pointer.
  void set(const std::string& name, const std::string& field, const nlohmann::json& value) const {
    auto json = nlohmann::json::parse(content_of(path() / name));
    json[nlohmann::json::json_pointer(field)] = value;
    put(name, json.dump());
  }
  void cut(const std::string& name, std::size_t bytes) const {
    edit(name, [&](std::string& content) { content.resize(bytes); });
  }
  /// A directory where a file is due.
  void make_directory(const std::string& name) const {
    remove(name);
    std::filesystem::create_directory(path() / name);
  }
  /// A symbolic link to itself.
  void make_loop(const std::string& name) const {
    remove(name);
    std::filesystem::create_symlink(path() / name, path() / name);
  }
};

/// A safetensors file's header, changed as JSON; the bytes behind it stay.
inline void edit_header(const Input& input, const std::string& name, const std::function<void(nlohmann::json&)>& change) {
  input.edit(name, [&](std::string& content) {
    std::uint64_t size = 0;
    std::memcpy(&size, content.data(), sizeof size);
    auto header = nlohmann::json::parse(content.substr(8, size));
    change(header);
    const std::string written = header.dump();
    const std::uint64_t new_size = written.size();
    content.replace(0, 8 + size, std::string(reinterpret_cast<const char*>(&new_size), 8) + written);
  });
}

/// A program's options; a null value leaves one out, "" makes it a flag.
using Options = std::vector<std::pair<std::string, const char*>>;

}  // namespace linden::test
