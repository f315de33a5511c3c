#pragma once
/// \file
/// What the evaluation harness does to text with Python's str: strip, rstrip, replace, capitalize and len, on UTF-8.
/// Units   code points, not bytes; strip knows every character for which str.isspace() is true.
/// Letters capitalize() changes Latin (also accented and Vietnamese), Greek and Cyrillic letters that have one partner
///         in the other case. Others, and those whose partner is two letters (German sharp s), stay as they are.
/// Errors  none: bytes that are no UTF-8 count as one character each and are kept.
/// Source  CPython 3, Objects/unicodeobject.c; The Unicode Standard, UnicodeData.txt.

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/data/utf8.hpp>
#include <string>
#include <string_view>

namespace linden {

/// True for what str.isspace() accepts.
[[nodiscard]] constexpr bool is_python_space(std::uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// str.strip(): without whitespace at both ends.
[[nodiscard]] inline std::string_view python_strip(std::string_view text) {
  std::size_t begin = text.size(), end = text.size();  // of what is kept
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid || !is_python_space(step.code_point)) {
      if (begin == text.size()) begin = at;
      end = at + step.bytes;
    }
    at += step.bytes;
  }
  return text.substr(begin, end - begin);
}

/// str.rstrip(): without whitespace at the end.
[[nodiscard]] inline std::string_view python_rstrip(std::string_view text) {
  const std::string_view kept = python_strip(text);
  return kept.empty() ? text.substr(0, 0) : text.substr(0, static_cast<std::size_t>(kept.end() - text.begin()));
}

/// str.replace(), in place: one pass from the left; what was put in is not looked at again.
inline void python_replace(std::string& in, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = in.find(from, at)) != in.npos; at += to.size()) in.replace(at, from.size(), to);
}

/// len(): the number of code points.
[[nodiscard]] inline std::size_t python_length(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_step(text, at).bytes) ++count;
  return count;
}

namespace detail {

/// Capital letters first, first + stride, ..., last; the small letter of each is `shift` further on.
struct CapitalLetters {
  std::uint32_t first, last, stride, shift;
};

inline constexpr std::array<CapitalLetters, 19> capital_letters{{
    {'A', 'Z', 1, 32},       {0x00C0, 0x00D6, 1, 32}, {0x00D8, 0x00DE, 1, 32},  // Latin-1
    {0x0100, 0x012E, 2, 1},  {0x0132, 0x0136, 2, 1},  {0x0139, 0x0147, 2, 1},
    {0x014A, 0x0176, 2, 1},                                                     // Latin Extended-A
    {0x0179, 0x017D, 2, 1},  {0x1E00, 0x1E94, 2, 1},  {0x1EA0, 0x1EFE, 2, 1},   // Latin Additional
    {0x0388, 0x038A, 1, 37}, {0x0391, 0x03A1, 1, 32}, {0x03A3, 0x03AB, 1, 32},  // Greek
    {0x0386, 0x0386, 1, 38}, {0x0400, 0x040F, 1, 80}, {0x0410, 0x042F, 1, 32},  // Cyrillic
    {0x0460, 0x0480, 2, 1},  {0x048A, 0x04BE, 2, 1},  {0x04D0, 0x052E, 2, 1},
}};

constexpr bool among(std::uint32_t c, std::uint32_t first, std::uint32_t last, std::uint32_t stride) {
  return c >= first && c <= last && (c - first) % stride == 0;
}

constexpr std::uint32_t small_letter(std::uint32_t c) {
  for (const auto& [first, last, stride, shift] : capital_letters)
    if (among(c, first, last, stride)) return c + shift;
  return c;
}

constexpr std::uint32_t capital_letter(std::uint32_t c) {
  for (const auto& [first, last, stride, shift] : capital_letters)
    if (among(c, first + shift, last + shift, stride)) return c - shift;
  return c;
}

inline void append_utf8(std::uint32_t c, std::string& out) {
  const auto byte = [&out](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (c < 0x80) return byte(c);
  if (c < 0x800) {
    byte(0xC0U | c >> 6U);
  } else {
    byte(0xE0U | c >> 12U);  // no letter here lies above U+FFFF
    byte(0x80U | (c >> 6U & 0x3FU));
  }
  byte(0x80U | (c & 0x3FU));
}

}  // namespace detail

/// str.capitalize(): the first character upper case, all others lower case.
[[nodiscard]] inline std::string python_capitalize(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    const std::uint32_t c = step.code_point;
    const std::uint32_t changed = at == 0 ? detail::capital_letter(c) : detail::small_letter(c);
    if (step.valid && changed != c)
      detail::append_utf8(changed, out);
    else
      out.append(text, at, step.bytes);
    at += step.bytes;
  }
  return out;
}

}  // namespace linden
