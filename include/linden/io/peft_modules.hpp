#pragma once
/// \file
/// Which modules a PEFT adapter adapts, and each one's rank and alpha: target_modules, layers_to_transform,
/// rank_pattern and alpha_pattern of adapter_config.json, matched against module paths exactly as PEFT matches them.
/// Errors  DataError naming the file, the field, found and expected.
/// Source  github.com/huggingface/peft 0.21: check_target_module_exists, get_pattern_key.

#include <algorithm>
#include <charconv>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <linden/core/regular_expression.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// What rank_pattern or alpha_pattern say: values for the modules whose path ends with a match of an expression.
template <class Value>
using PeftPattern = std::vector<std::pair<std::string, Value>>;

/// The value of the first expression that matches the end of `path`, from a "." on or whole.
template <class Value>
[[nodiscard]] std::optional<Value> pattern_value(const PeftPattern<Value>& pattern, std::string_view path) {
  for (const auto& [expression, value] : pattern)
    if (RegularExpression("(.*\\.)?(" + expression + ")").matches(path)) return value;
  return std::nullopt;
}

/// The linear modules that are adapted: those named, or matched whole by an expression, or all but the head.
struct PeftTargets {
  std::vector<std::string> names{};           ///< endings of paths, such as "q_proj"; empty: see below
  std::string expression{};                   ///< without names: what a whole path must match; empty: all modules
  std::vector<long> layers{};                 ///< with names: only layers of these numbers; empty: all
  std::vector<std::string> layer_patterns{};  ///< expressions for what comes before the number; empty: anything

  /// True when PEFT would adapt the linear module at `path`.
  [[nodiscard]] bool match(std::string_view path) const {
    if (names.empty()) return expression.empty() || RegularExpression(expression).matches(path);
    const auto ends_path = [&](const std::string& name) { return path.ends_with("." + name); };
    if (std::find(names.begin(), names.end(), path) != names.end()) return true;  // in whatever layer
    return std::any_of(names.begin(), names.end(), ends_path) &&
           (layers.empty() || std::find(layers.begin(), layers.end(), layer_of(path)) != layers.end());
  }

  bool operator==(const PeftTargets&) const = default;

 private:
  /// The number behind a layer pattern, by default the first part of the path that is a number; -1: there is none.
  [[nodiscard]] long layer_of(std::string_view path) const {
    const auto number_behind = [&](const std::string& before) {
      const auto found = RegularExpression("^" + before + "\\.\\K\\d+(?=\\.)").find(path);
      long number = -1;
      if (found) std::from_chars(path.data() + found->begin, path.data() + found->end, number);
      return number;
    };
    if (layer_patterns.empty()) return number_behind(".*?\\.[^.]*");
    for (const std::string& pattern : layer_patterns)
      if (const long number = number_behind("(?:.*?\\.)?" + pattern); number >= 0) return number;
    return -1;
  }
};

namespace detail {

/// A string or a list of strings as a list; nothing where the field is absent.
[[nodiscard]] inline std::vector<std::string> string_list(const JsonObject& fields, const std::string& key,
                                                          const std::string& expected) {
  const auto* field = fields.find(key);
  if (field == nullptr) return {};
  if (field->is_string()) return {field->get<std::string>()};
  const auto is_string = [](const nlohmann::json& item) { return item.is_string(); };
  if (!field->is_array() || !std::all_of(field->begin(), field->end(), is_string)) fields.fail(key, expected);
  return field->get<std::vector<std::string>>();
}

/// Refuses an expression that does not compile, naming its field.
inline void check_expression(const JsonObject& fields, const std::string& key, const std::string& expression) {
  try {
    (void)RegularExpression(expression);              // as it is: "a)(b" is none
    (void)RegularExpression("(" + expression + ")");  // and as a part: nothing may swallow what follows it
  } catch (const DataError& error) {
    fields.fail(key, text("regular expressions (", error.what(), ")"));
  }
}

[[nodiscard]] inline std::vector<long> layer_numbers(const JsonObject& fields) {
  const auto* field = fields.find("layers_to_transform");
  if (field == nullptr) return {};
  const auto list = field->is_array() ? *field : nlohmann::json::array({*field});
  for (const auto& number : list)
    if (!JsonObject::is_integer_in(&number, 0, std::numeric_limits<int>::max()))
      fields.fail("layers_to_transform", "a layer's number or a list of them");
  return list.get<std::vector<long>>();
}

[[nodiscard]] inline PeftTargets read_targets(const JsonObject& fields) {
  const char* const expected = "a list of module names, a regular expression or \"all-linear\"";
  PeftTargets targets;
  targets.names = string_list(fields, "target_modules", expected);
  if (targets.names.empty()) fields.fail("target_modules", expected);
  targets.layers = layer_numbers(fields);
  targets.layer_patterns = string_list(fields, "layers_pattern", "a regular expression or a list of them");
  for (const auto& pattern : targets.layer_patterns) check_expression(fields, "layers_pattern", pattern);
  if (!fields.find("target_modules")->is_string()) return targets;
  if (!targets.layers.empty()) fields.fail("layers_to_transform", "null, as target_modules is not a list");
  const std::string expression = std::exchange(targets.names, {})[0];
  if (RegularExpression("(?i)all-linear").matches(expression)) return targets;
  check_expression(fields, "target_modules", expression);
  targets.expression = expression;
  return targets;
}

[[nodiscard]] inline nlohmann::json targets_json(const PeftTargets& targets) {
  if (!targets.names.empty()) return targets.names;
  return targets.expression.empty() ? "all-linear" : targets.expression;
}

/// The pattern under `key` in the order of the file, which decides where several expressions match; read(object,
/// expression) gives a value.
template <class Value, class Read>
[[nodiscard]] PeftPattern<Value> read_pattern(const JsonObject& fields, const nlohmann::ordered_json& in_order,
                                              const std::string& key, Read read) {
  PeftPattern<Value> pattern;
  if (!fields.has(key)) return pattern;
  const JsonObject values = fields.object(key);
  for (const auto& item : in_order.at(key).items()) {
    check_expression(fields, key, item.key());
    pattern.emplace_back(item.key(), read(values, item.key()));
  }
  return pattern;
}

template <class Value, class Show>
[[nodiscard]] nlohmann::json pattern_json(const PeftPattern<Value>& pattern, Show show) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [expression, value] : pattern) json[expression] = show(value);
  return json;
}

}  // namespace detail

}  // namespace linden
