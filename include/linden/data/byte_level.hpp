#pragma once
/// \file
/// Byte-level encoding (GPT-2, Llama 3): text is its UTF-8 bytes, so every text has tokens and none is unknown.
/// Alphabet  files write a token's bytes as printable characters: bytes 33..126, 161..172 and 174..255 as the character
///           of that number, the other 68, ascending, as U+0100, U+0101, ... (space U+0120, newline U+010A).
/// Encode    a pattern cuts the text into pieces; a piece that is a token stays whole, if the file says so; the others
///           are merged up from single bytes, lowest rank first. A byte that belongs to no valid character is a token
///           by itself, and the text on either side of it is cut as if it ended there: nothing fails, nothing is lost.
/// Decode    the bytes of all tokens, one after the other; what is no UTF-8 becomes U+FFFD, one per maximal subpart.
/// Errors    none.
/// Source    github.com/openai/gpt-2 (encoder.py); github.com/huggingface/tokenizers (pre_tokenizers/byte_level).

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/data/tokenizer_model.hpp>
#include <linden/data/tokenizer_vocabulary.hpp>
#include <linden/data/utf8.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// [byte] -> the code point files write for it.
inline constexpr std::array<std::uint32_t, 256> byte_level_alphabet = [] {
  std::array<std::uint32_t, 256> alphabet{};
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    alphabet[byte] = itself ? byte : next++;
  }
  return alphabet;
}();

/// `bytes` in the alphabet: " the" -> "Ġthe".
[[nodiscard]] inline std::string byte_level_text(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) append_utf8(byte_level_alphabet[static_cast<unsigned char>(byte)], token);
  return token;
}

/// The bytes a token stands for, nothing if it has a character outside the alphabet.
[[nodiscard]] inline std::optional<std::string> byte_level_bytes(std::string_view token) {
  static constexpr auto byte_of = [] {
    std::array<std::int16_t, 0x100 + 68> inverse{};
    inverse.fill(-1);
    for (std::size_t byte = 0; byte < 256; ++byte) inverse[byte_level_alphabet[byte]] = static_cast<std::int16_t>(byte);
    return inverse;
  }();
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Step step = utf8_step(token, at);
    if (!step.valid || step.code_point >= byte_of.size() || byte_of[step.code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(byte_of[step.code_point]);
    at += step.bytes;
  }
  return bytes;
}

/// Text without added tokens to ids, and ids to text.
class ByteLevelCoder {
 public:
  /// Takes the merges out of `model`, whose vocabulary must have a token for each byte.
  ByteLevelCoder(ByteLevelScheme scheme, TokenizerModel& model)
      : scheme_(std::move(scheme)), merges_(std::move(model.merges)) {
    for (std::size_t byte = 0; byte < 256; ++byte)
      byte_ids_[byte] = model.tokens.find(byte_level_text(std::string(1, static_cast<char>(byte)))).value();
    std::vector<bool> merged(model.tokens.size(), true);
    for (const AddedToken& added : model.added) merged[static_cast<std::size_t>(added.id)] = added.in_merges;
    for (std::size_t i = 0; i < model.tokens.size(); ++i) {
      const std::string& token = model.tokens[static_cast<std::int32_t>(i)];
      auto bytes = byte_level_bytes(token);
      if (bytes && merged[i])
        bytes_of_.add(*std::move(bytes));
      else
        bytes_of_.add_unlisted(bytes.value_or(token));
    }
  }

  /// Appends the ids of `text`.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const {
    while (!text.empty()) {
      const std::size_t valid = valid_utf8_prefix(text);
      scheme_.pattern.for_each_piece(text.substr(0, valid), [&](std::string_view piece) { append_piece(piece, ids); });
      if (valid < text.size()) ids.push_back(byte_id(text[valid]));
      text.remove_prefix(valid < text.size() ? valid + 1 : valid);
    }
  }

  /// \return the text of `ids`.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const {
    std::string bytes;
    for (const std::int32_t id : ids) bytes += bytes_of_[id];
    return is_utf8(bytes) ? bytes : to_valid_utf8(bytes);
  }

 private:
  [[nodiscard]] std::int32_t byte_id(char byte) const { return byte_ids_[static_cast<unsigned char>(byte)]; }

  void append_piece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    if (scheme_.whole_pieces)
      if (const auto id = bytes_of_.find(piece)) return ids.push_back(*id);
    const std::size_t first = ids.size();
    for (const char byte : piece) ids.push_back(byte_id(byte));
    merges_.apply(ids, first);
  }

  ByteLevelScheme scheme_;
  MergeTable merges_;
  std::array<std::int32_t, 256> byte_ids_{};  // [byte]
  Vocabulary bytes_of_;                       // what each id decodes to; finds those merges can make
};

}  // namespace linden
