#pragma once
/// \file
/// Regular expressions over UTF-8, run by PCRE2 with Unicode classes: where a file of another program holds patterns
/// in the syntax of Perl or Python, which std::regex does not read.
/// Units   byte offsets.
/// Errors  DataError for a pattern that does not compile, and for one that gives up on some text (too much
///         backtracking).
/// Needs   libpcre2-8 10.40 or later; nothing else in linden includes its header.
/// Source  PCRE2 10, pcre2api(3).

#ifdef PCRE2_CODE_UNIT_WIDTH
#include <pcre2.h>
#else
/// Must be defined, and is so only here: whoever includes us may choose their own, the names used below have the width in them.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#undef PCRE2_CODE_UNIT_WIDTH
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace linden {

/// A compiled pattern. Immutable: any number of threads may use one, and copies share it.
class RegularExpression {
 public:
  /// Where a match lies: the bytes [begin, end).
  struct Match {
    std::size_t begin = 0;  ///< first byte
    std::size_t end = 0;    ///< one past the last byte
  };

  /// Compiled once; throws as the file comment says.
  explicit RegularExpression(std::string pattern)
      : pattern_(std::move(pattern)), code_(compile(pattern_), pcre2_code_free_8) {
    pcre2_jit_compile_8(code_.get(), PCRE2_JIT_COMPLETE);  // where it cannot be, PCRE2 interprets: slower, the same
  }

  [[nodiscard]] const std::string& pattern() const { return pattern_; }  ///< as it was given

  /// True when some text has a match of no bytes.
  [[nodiscard]] bool may_match_nothing() const {
    std::uint32_t may = 0;
    pcre2_pattern_info_8(code_.get(), PCRE2_INFO_MATCHEMPTY, &may);
    return may != 0;
  }

  /// True when the pattern matches all of `utf8`.
  [[nodiscard]] bool matches(std::string_view utf8) const {
    return run(utf8, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, match_data().get()).has_value();
  }

  /// The first match that begins at `offset` or later; what lies before `offset` is context for lookbehind.
  [[nodiscard]] std::optional<Match> find(std::string_view utf8, std::size_t offset = 0) const {
    return run(utf8, offset, 0, match_data().get());
  }

  /// Calls visit(match) for all matches from left to right, none overlapping another. `utf8` must be valid UTF-8, which is
  /// not checked, and the pattern one that never matches nothing.
  template <class Visit>
  void for_each_match(std::string_view utf8, Visit visit) const {
    const MatchData data = match_data();
    for (std::size_t at = 0; at < utf8.size();) {
      const std::optional<Match> match = run(utf8, at, PCRE2_NO_UTF_CHECK, data.get());
      if (!match || match->end == match->begin) return;
      visit(*match);
      at = match->end;
    }
  }

 private:
  using MatchData = std::unique_ptr<pcre2_match_data_8, void (*)(pcre2_match_data_8*)>;

  [[nodiscard]] static MatchData match_data() {
    MatchData data(pcre2_match_data_create_8(1, nullptr), pcre2_match_data_free_8);
    if (data == nullptr) throw std::bad_alloc();
    return data;
  }

  [[nodiscard]] static pcre2_code_8* compile(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE where = 0;
    const auto* const characters = reinterpret_cast<PCRE2_SPTR8>(pattern.data());
    pcre2_code_8* const code = pcre2_compile_8(
        characters, pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr);
    if (code == nullptr)
      throw DataError(text("regular expression ", pattern, " does not compile: ", message(error), " at byte ", where));
    return code;
  }

  [[nodiscard]] std::optional<Match> run(std::string_view utf8, std::size_t offset, std::uint32_t options,
                                         pcre2_match_data_8* data) const {
    const auto* const characters = reinterpret_cast<PCRE2_SPTR8>(utf8.data());
    const int result = pcre2_match_8(code_.get(), characters, utf8.size(), offset, options, data, nullptr);
    if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (result < 0)
      throw DataError(
          text("regular expression ", pattern_, " gives up on a text of ", utf8.size(), " bytes: ", message(result)));
    const PCRE2_SIZE* const found = pcre2_get_ovector_pointer_8(data);
    return Match{found[0], found[1]};
  }

  static std::string message(int error) {
    std::array<PCRE2_UCHAR8, 256> buffer{};
    pcre2_get_error_message_8(error, buffer.data(), buffer.size());
    return reinterpret_cast<const char*>(buffer.data());
  }

  std::string pattern_;
  std::shared_ptr<pcre2_code_8> code_;
};

}  // namespace linden
