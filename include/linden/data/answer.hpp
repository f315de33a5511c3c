#pragma once
/// \file
/// Reads the final number out of a GSM8K answer and compares it, as the evaluation harness's gsm8k task does.
/// strict    the first match of `#### (\-?[0-9\.\,]+)`; flexible the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`.
/// compare   as text, after the same normalisation of both sides: "72" and "72.0" differ, "1,072." and "1072" agree.
/// Errors    none: text without an answer reads as `no_answer`.
/// Source    github.com/EleutherAI/lm-evaluation-harness, task gsm8k version 3. Scanned by hand: linear
///           time, no regular expression engine recursing over a long text.

#include <cstddef>
#include <string>
#include <string_view>

namespace linden {

/// What the harness calls a text without an answer.
inline constexpr std::string_view no_answer = "[invalid]";

namespace detail {

inline bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

/// The end of the longest run of characters that `wanted` accepts, from `at` on.
template <class Predicate>
std::size_t end_of_run(std::string_view text, std::size_t at, Predicate wanted) {
  while (at < text.size() && wanted(text[at])) ++at;
  return at;
}

}  // namespace detail

/// \return the number after the first "#### " that is followed by one, as written: "-1,072.50".
[[nodiscard]] inline std::string final_answer(std::string_view text) {
  constexpr std::string_view mark = "#### ";
  for (std::size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + 1)) {
    const std::size_t begin = at + mark.size();
    const std::size_t digits = begin + (begin < text.size() && text[begin] == '-' ? 1 : 0);
    const auto wanted = [](char c) { return detail::is_ascii_digit(c) || c == '.' || c == ','; };
    const std::size_t end = detail::end_of_run(text, digits, wanted);
    if (end > digits) return std::string(text.substr(begin, end - begin));
  }
  return std::string(no_answer);
}

/// \return the last thing that looks like a number or an amount of dollars, as written.
[[nodiscard]] inline std::string flexible_answer(std::string_view text) {
  std::string_view last = no_answer;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at + (text[at] == '-' ? 1 : 0);
    const auto wanted = [](char c) { return detail::is_ascii_digit(c) || c == '$' || c == '.' || c == ','; };
    const std::size_t end = detail::end_of_run(text, begin, wanted);
    const bool is_answer = end - begin >= 2 || (end - begin == 1 && detail::is_ascii_digit(text[begin]));
    if (is_answer) last = text.substr(at, end - at);
    at = is_answer ? end : at + 1;
  }
  return std::string(last);
}

/// What is compared: no commas, no dollar signs, nothing up to the last "#### ", no full stop at the end, lower case
/// (ASCII letters).
[[nodiscard]] inline std::string normalized_answer(std::string_view text) {
  std::string answer(text);
  std::erase(answer, ',');
  std::erase(answer, '$');
  if (const std::size_t mark = answer.rfind("#### "); mark != answer.npos) answer.erase(0, mark + 5);
  const std::size_t end = answer.ends_with('\n') && !answer.ends_with(".") ? answer.size() - 1 : answer.size();
  if (end > 0 && answer[end - 1] == '.') answer.erase(end - 1, 1);
  for (char& c : answer)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return answer;
}

/// True when `generated` ends in the answer of `gold`, read strictly. `gold` is a whole reference answer or a number.
[[nodiscard]] inline bool strict_match(std::string_view generated, std::string_view gold) {
  return normalized_answer(final_answer(generated)) == normalized_answer(gold);
}

/// The same with the lenient reading of `generated`.
[[nodiscard]] inline bool flexible_match(std::string_view generated, std::string_view gold) {
  return normalized_answer(flexible_answer(generated)) == normalized_answer(gold);
}

}  // namespace linden
