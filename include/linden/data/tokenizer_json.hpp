#pragma once
/// \file
/// A JSON file looked at field by field, for the readers of tokenizer.json and tokenizer_config.json: each refusal
/// names the file, the field as a JSON pointer, what was found and what was expected. Errors  DataError, also for a
/// file that cannot be opened, is not JSON or nests deeper than 64 levels.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace linden::detail {

/// One file and its fields.
class TokenizerJson {
 public:
  using Json = nlohmann::json;

  explicit TokenizerJson(std::filesystem::path path) : path_(std::move(path)), root_(parse()) {
    require(root_.is_object(), "top level", root_, "an object");
  }

  [[nodiscard]] const Json& root() const { return root_; }

  /// The value at a JSON pointer; a missing one reads as null.
  [[nodiscard]] const Json& at(const std::string& field) const {
    static const Json null;
    const Json::json_pointer pointer(field);
    return root_.contains(pointer) ? root_.at(pointer) : null;
  }

  [[noreturn]] void fail(std::string_view field, const Json& found, std::string_view expected) const {
    throw DataError(text(path_.string(), ": ", field, ": found ", brief(found), ", expected ", expected));
  }

  void require(bool holds, std::string_view field, const Json& found, std::string_view expected) const {
    if (!holds) fail(field, found, expected);
  }

  /// Refuses a field that differs from `expected`, and names the first place where it does.
  void require_equal(const std::string& field, const Json& expected) const {
    const Json& found = at(field);
    if (found == expected) return;
    const Json::json_pointer first(Json::diff(expected, found).at(0).at("path").get<std::string>());
    const std::string where = field + first.to_string();
    fail(where, at(where), expected.contains(first) ? brief(expected.at(first)) : "nothing");
  }

  void require_flag(const std::string& field) const {
    require(at(field).is_boolean(), field, at(field), "true or false");
  }

  void require_known_keys(const std::string& field, std::initializer_list<std::string_view> known) const {
    const Json& object = at(field);
    require(object.is_object(), field, object, "an object");
    for (const auto& item : object.items()) {
      bool is_known = false;
      for (const std::string_view k : known) is_known |= k == item.key();
      require(is_known, text(field, "/", item.key()), item.value(), "no such field");
    }
  }

  /// True for a value that can be a token id.
  static bool is_id(const Json& value) {
    return value.is_number_unsigned() && value.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max();
  }

  /// `value` as JSON text of at most 120 characters.
  static std::string brief(const Json& value) {
    const std::string all = value.dump(-1, ' ', true);
    return all.size() <= 120 ? all : all.substr(0, 117) + "...";
  }

 private:
  /// Printing a value is recursive, so there must be a limit.
  static constexpr int max_depth = 64;

  [[nodiscard]] Json parse() const {
    const std::string bytes = read_bytes(path_);
    // nlohmann takes a zero byte for the end of its input and would ignore all that follows.
    if (bytes.find('\0') != std::string::npos)
      throw DataError(text(path_.string(), ": not JSON: contains a zero byte"));
    check_depth(bytes);
    try {
      return Json::parse(bytes);
    } catch (const Json::exception& e) {
      throw DataError(text(path_.string(), ": not JSON: ", e.what()));
    }
  }

  void check_depth(std::string_view bytes) const {
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const char c = bytes[i];
      if (in_string && c == '\\') ++i;
      if (c == '"') in_string = !in_string;
      if (in_string) continue;
      depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
      if (depth > max_depth) throw DataError(text(path_.string(), ": JSON nests deeper than ", max_depth, " levels"));
    }
  }

  std::filesystem::path path_;
  Json root_;
};

}  // namespace linden::detail
