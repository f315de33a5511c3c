#pragma once
/// \file
/// Finds added tokens (`<s>`, `<|eot_id|>`, ...) in text: wherever they occur literally, the longest at the leftmost
/// place.
/// Units   bytes.
/// Errors  none.
/// Source  github.com/huggingface/tokenizers (tokenizer/added_vocabulary).

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/data/tokenizer_model.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// The added tokens of a vocabulary that are looked for in the text.
class AddedTokens {
 public:
  /// Those of `added` that are looked for in the text.
  explicit AddedTokens(const std::vector<AddedToken>& added) {
    for (const AddedToken& token : added)
      if (token.in_text) tokens_.emplace_back(token.content, token.id);
    std::ranges::sort(tokens_);
    for (const auto& [content, id] : tokens_) starts_[static_cast<unsigned char>(content[0])] = true;
  }

  /// Calls `on_text(stretch)` for what lies between added tokens, unless empty, and `on_token(id)` for each of them.
  template <class OnText, class OnToken>
  void split(std::string_view text, OnText on_text, OnToken on_token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const Entry* found = longest_at(text.substr(at));
      if (found == nullptr) {
        ++at;
        continue;
      }
      if (at > begin) on_text(text.substr(begin, at - begin));
      on_token(found->second);
      begin = at += found->first.size();
    }
    if (text.size() > begin) on_text(text.substr(begin));
  }

 private:
  using Entry = std::pair<std::string, std::int32_t>;

  /// The longest token `text` begins with, or nullptr. Narrows the sorted tokens down character by character.
  [[nodiscard]] const Entry* longest_at(std::string_view text) const {
    if (!starts_[static_cast<unsigned char>(text[0])]) return nullptr;
    const Entry* longest = nullptr;
    auto begin = tokens_.begin(), end = tokens_.end();
    for (std::size_t i = 0; i < text.size() && begin != end; ++i) {
      const auto here = static_cast<unsigned char>(text[i]);
      const auto character = [i](const Entry& e) { return static_cast<unsigned char>(e.first[i]); };
      begin = std::partition_point(begin, end, [&](const Entry& e) { return character(e) < here; });
      end = std::partition_point(begin, end, [&](const Entry& e) { return character(e) == here; });
      if (begin != end && begin->first.size() == i + 1) longest = &*begin++;
    }
    return longest;
  }

  std::vector<Entry> tokens_;       // in the order of their bytes
  std::array<bool, 256> starts_{};  // [first byte of some token]
};

}  // namespace linden
