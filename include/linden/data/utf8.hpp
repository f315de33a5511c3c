#pragma once
/// \file
/// UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
/// Units   bytes; a code point is its number.
/// Errors  none: bytes that start no valid character are reported as such.
/// Source  The Unicode Standard, table 3-7 (well-formed UTF-8 byte sequences).

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace linden {

/// One step through UTF-8 text: the code point and the bytes it takes. Where the bytes are no valid character,
/// `valid` is false, `bytes` is 1 and `code_point` is the value of that byte.
struct Utf8Step {
  std::uint32_t code_point;
  std::size_t bytes;
  bool valid;
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

/// True when all of `text` is well-formed UTF-8.
[[nodiscard]] inline bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid) return false;
    at += step.bytes;
  }
  return true;
}

}  // namespace linden
