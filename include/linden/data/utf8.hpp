#pragma once
/// \file
/// UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
/// Units   bytes; a code point is its number.
/// Errors  none: bytes that start no valid character are reported as such.
/// Source  The Unicode Standard, table 3-7 (well-formed UTF-8 byte sequences) and section 3.9, "U+FFFD Substitution of
///         Maximal Subparts".

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace linden {

/// One step through UTF-8 text: the code point and the bytes it takes. Where the bytes are no valid character,
/// `valid` is false, `bytes` is 1 and `code_point` is the value of that byte.
struct Utf8Step {
  std::uint32_t code_point;  ///< its number
  std::size_t bytes;         ///< how many bytes it takes
  bool valid;                ///< false: the bytes are no character
};

/// The step that starts at `text[at]`; `at` must be inside the text.
[[nodiscard]] inline Utf8Step utf8_step(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return std::uint32_t{static_cast<unsigned char>(text[at + i])}; };
  const std::uint32_t first = byte(0);
  if (first < 0x80U) return {first, 1, true};
  const std::size_t bytes = first >= 0xF0U ? 4 : first >= 0xE0U ? 3 : 2;
  const Utf8Step invalid{first, 1, false};
  if (first < 0xC2U || first > 0xF4U || text.size() - at < bytes) return invalid;
  std::uint32_t code_point = first & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return invalid;
    code_point = code_point << 6U | (byte(i) & 0x3FU);
  }
  const bool overlong = (bytes == 3 && code_point < 0x800U) || (bytes == 4 && code_point < 0x10000U);
  const bool surrogate = code_point >= 0xD800U && code_point <= 0xDFFFU;
  return overlong || surrogate || code_point > 0x10FFFFU ? invalid : Utf8Step{code_point, bytes, true};
}

/// U+FFFD, the replacement character, in UTF-8.
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

/// Appends the character `code_point`, which must not be a surrogate, in UTF-8.
inline void append_utf8(std::uint32_t code_point, std::string& out) {
  const auto trail = [&](unsigned shift) { out += static_cast<char>(0x80U | (code_point >> shift & 0x3FU)); };
  if (code_point < 0x80U) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800U) {
    out += static_cast<char>(0xC0U | code_point >> 6U), trail(0);
  } else if (code_point < 0x10000U) {
    out += static_cast<char>(0xE0U | code_point >> 12U), trail(6), trail(0);
  } else {
    out += static_cast<char>(0xF0U | code_point >> 18U), trail(12), trail(6), trail(0);
  }
}

/// Length of the longest start of `text` that is well-formed UTF-8.
[[nodiscard]] inline std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid) break;
    at += step.bytes;
  }
  return at;
}

/// True when all of `text` is well-formed UTF-8.
[[nodiscard]] inline bool is_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

/// Bytes at `text[at]`, where no valid character starts, that one U+FFFD stands for: the longest start of some valid
/// character found there, or else a single byte.
[[nodiscard]] inline std::size_t maximal_subpart(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const auto is = [&](std::size_t i, unsigned low, unsigned high) {
    return at + i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0xE0U || first > 0xF4U) return 1;
  const unsigned low = first == 0xE0U ? 0xA0U : first == 0xF0U ? 0x90U : 0x80U;
  const unsigned high = first == 0xEDU ? 0x9FU : first == 0xF4U ? 0x8FU : 0xBFU;
  if (!is(1, low, high)) return 1;
  return first >= 0xF0U && is(2, 0x80U, 0xBFU) ? 3 : 2;
}

/// \return `bytes` with U+FFFD in place of whatever is no UTF-8.
[[nodiscard]] inline std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t valid = valid_utf8_prefix(bytes.substr(at));
    out.append(bytes, at, valid);
    at += valid;
    if (at == bytes.size()) break;
    out += replacement_character;
    at += maximal_subpart(bytes, at);
  }
  return out;
}

}  // namespace linden
