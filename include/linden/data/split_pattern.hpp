#pragma once
/// \file
/// The regular expression that cuts text into the pieces merges may not cross.
/// The pattern is the one in the tokenizer file. Only `\s` and `\S` are read differently from PCRE2: as the Unicode property
/// White_Space, which Oniguruma (the engine of Hugging Face tokenizers) and Rust's regex mean by it; PCRE2's own `\s` also takes
/// U+180E, a space no longer since Unicode 6.3.
/// Units   bytes of UTF-8.
/// Errors  DataError for a pattern that does not compile, may match nothing at all, or gives up on some text.

#include <linden/core/regular_expression.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace linden {

/// A compiled pattern. Immutable: any number of threads may use one, and copies share it.
class SplitPattern {
 public:
  /// Throws DataError where the pattern is not one, or may match nothing at all.
  explicit SplitPattern(std::string pattern)
      : pattern_(std::move(pattern)), expression_(with_unicode_spaces(pattern_)) {
    if (expression_.may_match_nothing()) throw DataError(text("split pattern ", pattern_, " may match nothing at all"));
  }

  [[nodiscard]] const std::string& pattern() const { return pattern_; }  ///< as it was given

  /// Calls `visit(piece)` for each match and each stretch between matches, from left to right: together they are
  /// `utf8`, which must be valid UTF-8.
  template <class Visit>
  void for_each_piece(std::string_view utf8, Visit visit) const {
    std::size_t at = 0;
    expression_.for_each_match(utf8, [&](const RegularExpression::Match& match) {
      if (match.begin > at) visit(utf8.substr(at, match.begin - at));
      visit(utf8.substr(match.begin, match.end - match.begin));
      at = match.end;
    });
    if (at < utf8.size()) visit(utf8.substr(at));
  }

 private:
  static std::string with_unicode_spaces(std::string_view pattern) {
    std::string out;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      const bool escape = pattern[i] == '\\' && i + 1 < pattern.size();
      const char escaped = escape ? pattern[++i] : '\0';
      if (escaped == 's')
        out += "\\p{wspace}";
      else if (escaped == 'S')
        out += "\\P{wspace}";
      else if (escape)
        (out += '\\') += escaped;
      else
        out += pattern[i];
    }
    return out;
  }

  std::string pattern_;
  RegularExpression expression_;
};

}  // namespace linden
