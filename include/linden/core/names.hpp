#pragma once
/// \file
/// Names of the values of an enumeration, as options and files spell them: one table serves reading and writing.
/// Errors  UsageError for a name that is not in the table; the message lists those that are.

#include <array>
#include <cstddef>
#include <linden/core/error.hpp>
#include <string>
#include <string_view>

namespace linden {

/// A value and how it is spelled.
template <class Value>
struct Named {
  Value value;            ///< one of an enumeration
  std::string_view name;  ///< how files and command lines write it
};

/// The name of `value`; every value of the enumeration must be in the table.
template <class Value, std::size_t Count>
[[nodiscard]] constexpr std::string_view name_of(Value value, const std::array<Named<Value>, Count>& table) {
  for (const auto& entry : table)
    if (entry.value == value) return entry.name;
  throw UsageError("name_of(value): the value is not one of its enumeration");
}

/// The value called `name`; `subject` ("scaling") begins the message of a refusal.
template <class Value, std::size_t Count>
[[nodiscard]] Value value_of(std::string_view name, std::string_view subject,
                             const std::array<Named<Value>, Count>& table) {
  std::string known;
  for (const auto& entry : table) {
    if (entry.name == name) return entry.value;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw UsageError(text(subject, " \"", name, "\" is unknown; expected one of: ", known));
}

}  // namespace linden
