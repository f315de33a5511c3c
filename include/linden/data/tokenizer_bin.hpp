#pragma once
/// \file
/// Reads llama2.c's tokenizer.bin: i32 longest token; then per token f32 score, i32 length, bytes; little-endian, to
/// the end of the file. Ids 0 `<unk>`, 1 `<s>`, 2 `</s>` (these two between newlines), 3..258 the byte tokens, then
/// pieces with plain spaces, which become U+2581 here as in the other formats. No token is looked for in the text.
/// Errors  DataError naming file, token and what was found and expected.
/// Source  github.com/karpathy/llama2.c (tokenizer.py, run.c).

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/sentencepiece.hpp>
#include <linden/data/tokenizer_config.hpp>
#include <linden/data/tokenizer_merges.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {
namespace detail {

/// One reading of one file.
class TokenizerBinReader {
 public:
  explicit TokenizerBinReader(std::filesystem::path path) : path_(std::move(path)) {}

  TokenizerModel read() {
    const std::string bytes = read_bytes(path_);
    rest_ = bytes;
    const std::uint32_t longest = number();
    while (!rest_.empty()) read_token(longest);
    check_first_tokens();
    for (std::int32_t id = 0; id < 3; ++id) model_.added.push_back({model_.tokens[id], id, true, false});
    SentencePieceScheme scheme;
    for (std::size_t byte = 0; byte < 256; ++byte) scheme.byte_ids[byte] = static_cast<std::int32_t>(3 + byte);
    model_.scheme = scheme;
    std::vector<bool> pieces(model_.tokens.size(), true);
    std::fill_n(pieces.begin(), first_piece, false);
    add_implied_merges(model_, ranks_of_scores(scores_, pieces));
    model_.bos = 1;
    apply_tokenizer_config(model_, path_, "</s>");
    return std::move(model_);
  }

 private:
  static constexpr std::ptrdiff_t first_piece = 3 + 256;

  [[nodiscard]] std::string where() const { return text(path_.string(), ": token ", model_.tokens.size()); }

  std::string_view take(std::size_t size) {
    if (size > rest_.size()) throw DataError(text(where(), ": ends after ", rest_.size(), " of ", size, " bytes"));
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::uint32_t number() {
    std::uint32_t value = 0;
    const std::string_view bytes = take(4);
    for (std::size_t i = 4; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
    return value;
  }

  void read_token(std::uint32_t longest) {
    const auto score = std::bit_cast<float>(number());
    if (std::isnan(score)) throw DataError(text(where(), ": found score ", score, ", expected a number"));
    const std::uint32_t length = number();
    if (length > longest)
      throw DataError(text(where(), ": found length ", length, ", expected at most ", longest, " as the file begins"));
    std::string token;
    for (const char c : take(length)) c == ' ' ? token.append(word_mark) : token.append(1, c);
    if (token == "\n<s>\n" || token == "\n</s>\n") token = token.substr(1, token.size() - 2);
    add_checked_token(model_, std::move(token), [&] { return where(); });
    scores_.push_back(score);
  }

  void check_first_tokens() const {
    const auto expected = [](std::size_t id) {
      constexpr std::string_view first[] = {"<unk>", "<s>", "</s>"};
      return id < 3 ? std::string(first[id]) : byte_token(static_cast<unsigned>(id - 3));
    };
    for (std::size_t id = 0; id < static_cast<std::size_t>(first_piece); ++id) {
      const bool there = id < model_.tokens.size();
      const std::string found = there ? model_.tokens[static_cast<std::int32_t>(id)] : "";
      if (found != expected(id))
        throw DataError(text(path_.string(), ": token ", id, ": found ", there ? shown(found) : "the end of the file",
                             ", expected \"", expected(id), "\""));
    }
  }

  std::filesystem::path path_;
  std::string_view rest_;
  TokenizerModel model_;
  std::vector<float> scores_;  // [id]
};

}  // namespace detail

/// Reads and checks a tokenizer.bin.
[[nodiscard]] inline TokenizerModel read_tokenizer_bin(const std::filesystem::path& path) {
  return detail::TokenizerBinReader(path).read();
}

}  // namespace linden
