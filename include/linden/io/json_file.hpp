#pragma once
/// \file
/// JSON files read strictly and field by field: every refusal names the file, the field, what was found and what was
/// expected.
/// Errors  DataError for a file that is not JSON, repeats a key, nests deeper than `max_json_depth`, or whose field has
///         the wrong type or range; UsageError for strings to write that are not UTF-8.
/// Source  RFC 8259. Repeated keys are refused because parsers disagree about which one counts.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/io/mapped_file.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace linden {

/// Deepest nesting accepted; printing a value is recursive, so there must be a limit.
inline constexpr int max_json_depth = 64;

/// The value of JSON text; `where` names the text in errors.
[[nodiscard]] inline nlohmann::json parse_json(std::string_view json_text, const std::string& where) {
  using Event = nlohmann::json::parse_event_t;
  // nlohmann takes a zero byte for the end of its input and would ignore all that follows.
  if (json_text.find('\0') != std::string_view::npos) throw DataError(text(where, ": not JSON: contains a zero byte"));
  std::vector<std::unordered_set<std::string>> keys;  // of the objects open at this point
  const auto check = [&](int depth, Event event, nlohmann::json& parsed) {
    if (depth > max_json_depth) throw DataError(text(where, ": JSON nests deeper than ", max_json_depth, " levels"));
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw DataError(text(where, ": key '", parsed.get<std::string>(), "' appears twice"));
    return true;
  };
  try {
    return nlohmann::json::parse(json_text, check);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(text(where, ": not JSON: ", error.what()));
  }
}

/// The value of a JSON file.
[[nodiscard]] inline nlohmann::json read_json(const std::filesystem::path& file) {
  return parse_json(MappedFile(file).characters(), file.string());
}

/// `value` as JSON text with sorted keys; `indent` -1 puts it on one line without spaces.
[[nodiscard]] inline std::string json_text(const nlohmann::json& value, int indent, const std::string& where) {
  try {
    return value.dump(indent);
  } catch (const nlohmann::json::exception& error) {
    throw UsageError(text(where, ": cannot be written as JSON: ", error.what()));
  }
}

/// Writes `value` with sorted keys and an indent of 2, all or nothing.
inline void write_json(const std::filesystem::path& file, const nlohmann::json& value) {
  write_atomically(file, std::string_view(json_text(value, 2, file.string()) + "\n"));
}

/// One object of a JSON file. Looks at the value it was made from, which must outlive it. A null counts as absent.
class JsonObject {
 public:
  /// `file` and `prefix` (of the object inside the file, such as "rope_scaling.") name the fields in errors.
  JsonObject(const nlohmann::json& value, std::string file, std::string prefix = "")
      : value_(&value), file_(std::move(file)), prefix_(std::move(prefix)) {
    if (value.is_object()) return;
    const auto where = prefix_.empty() ? file_ : text(file_, ": field '", prefix_.substr(0, prefix_.size() - 1), "'");
    throw DataError(text(where, ": found ", shown(&value), ", expected an object"));
  }
  JsonObject(nlohmann::json&&, std::string, std::string = "") = delete;

  /// The field's value, or nullptr when it is absent or null.
  [[nodiscard]] const nlohmann::json* find(const std::string& key) const {
    const auto at = value_->find(key);
    return at == value_->end() || at->is_null() ? nullptr : &*at;
  }
  /// Whether the field is there and not null.
  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }

  /// The names of all fields, ascending; null ones too.
  [[nodiscard]] std::vector<std::string> keys() const {
    std::vector<std::string> list;
    for (const auto& item : value_->items()) list.push_back(item.key());
    return list;
  }

  /// An integer in [low, high]; a number with a decimal point is refused.
  [[nodiscard]] long integer(const std::string& key, long low = 1, long high = std::numeric_limits<int>::max()) const {
    const auto* field = find(key);
    if (!is_integer_in(field, low, high)) fail(key, text("an integer from ", low, " to ", high));
    return field->get<long>();
  }
  /// A finite number that must be there.
  [[nodiscard]] double number(const std::string& key) const {
    const auto* field = find(key);
    if (field == nullptr || !field->is_number() || !std::isfinite(field->get<double>())) fail(key, "a finite number");
    return field->get<double>();
  }
  /// A number above 0 that must be there.
  [[nodiscard]] double positive_number(const std::string& key) const {
    const double value = number(key);
    if (value <= 0) fail(key, "a number above 0");
    return value;
  }
  /// A string that must be there.
  [[nodiscard]] std::string string(const std::string& key) const {
    const auto* field = find(key);
    if (field == nullptr || !field->is_string()) fail(key, "a string");
    return field->get<std::string>();
  }
  /// A boolean, false where absent.
  [[nodiscard]] bool flag(const std::string& key) const {
    const auto* field = find(key);
    if (field == nullptr) return false;
    if (!field->is_boolean()) fail(key, "true or false");
    return field->get<bool>();
  }
  /// The object under `key`.
  [[nodiscard]] JsonObject object(const std::string& key) const {
    const auto* field = find(key);
    if (field == nullptr || !field->is_object()) fail(key, "an object");
    return {*field, file_, prefix_ + key + "."};
  }

  /// Refuses the field `key`: what was found there, and what was `expected`.
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const {
    const auto at = value_->find(key);
    throw DataError(text(file_, ": field '", prefix_, key, "': found ", shown(at == value_->end() ? nullptr : &*at),
                         ", expected ", expected));
  }

  /// True when `field` is an integer from `low` to `high`.
  [[nodiscard]] static bool is_integer_in(const nlohmann::json* field, long low, long high) {
    if (field == nullptr || !field->is_number_integer()) return false;
    if (field->is_number_unsigned() && field->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<long>::max()})
      return false;
    return field->get<long>() >= low && field->get<long>() <= high;
  }

 private:
  [[nodiscard]] static std::string shown(const nlohmann::json* field) {
    if (field == nullptr) return "nothing";
    std::string printed = field->dump(-1, ' ', true);  // ASCII only, so cutting cannot split a character
    if (printed.size() > 80) printed.replace(77, std::string::npos, "...");
    return printed;
  }

  const nlohmann::json* value_;
  std::string file_;
  std::string prefix_;
};

}  // namespace linden
