#pragma once
/// \file
/// Text to token ids and back, the way Hugging Face tokenizers does it for Llama's SentencePiece-style vocabularies.
/// Encode  added tokens (`<s>`, `</s>`, ...) are split off wherever they occur literally, the longest at the leftmost
///         place. Each stretch of text between them gets one leading space; spaces become U+2581; every character is
///         its vocabulary entry or else its UTF-8 bytes as `<0xXX>`; merges apply, lowest rank first, leftmost first.
///         A byte that belongs to no valid character becomes its `<0xXX>` too: encoding never fails and loses nothing.
/// Decode  the inverse, less one leading space. A run of byte tokens that is no UTF-8 becomes U+FFFD, one per byte.
/// Errors  DataError from load; UsageError for an id outside the vocabulary.
/// Source  github.com/huggingface/tokenizers (models/bpe, decoders/byte_fallback); github.com/karpathy/llama2.c.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/bpe.hpp>
#include <linden/data/tokenizer_file.hpp>
#include <linden/data/utf8.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace linden {

/// A tokenizer. Immutable after loading: any number of threads may use one.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one in a model folder.
  [[nodiscard]] static Tokenizer load(const std::filesystem::path& path) {
    return Tokenizer(read_tokenizer_file(path));
  }

  /// \return token ids of `text`, after bos() if `add_bos`. No eos is added.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_bos) const {
    std::vector<std::int32_t> ids;
    if (add_bos) ids.push_back(file_.bos);
    std::vector<std::int32_t> scratch;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const TokenizerFile::AddedToken* added = added_at(text, at);
      if (added == nullptr) {
        ++at;
        continue;
      }
      append_plain(text.substr(begin, at - begin), scratch, ids);
      ids.push_back(added->id);
      begin = at += added->content.size();
    }
    append_plain(text.substr(begin), scratch, ids);
    return ids;
  }

  /// \return the text of `ids`, without special tokens if `skip_special`.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const {
    std::string out, bytes;
    for (const std::int32_t id : ids) {
      const std::size_t i = checked(id);
      if (skip_special && special_[i]) continue;
      if (byte_of_[i] >= 0) {
        bytes.push_back(static_cast<char>(byte_of_[i]));
        continue;
      }
      append_bytes(bytes, out);
      out += text_of_[i];
    }
    append_bytes(bytes, out);
    if (out.starts_with(' ')) out.erase(0, 1);
    return out;
  }

  /// Number of tokens; ids are 0..size()-1.
  [[nodiscard]] std::size_t size() const { return file_.tokens.size(); }
  /// The token in front of every text.
  [[nodiscard]] std::int32_t bos() const { return file_.bos; }
  /// The token that ends an answer.
  [[nodiscard]] std::int32_t eos() const { return file_.eos; }
  /// \return the vocabulary entry of `id`, as in the file: "▁the", "<0x0A>", "</s>".
  [[nodiscard]] const std::string& token(std::int32_t id) const { return file_.tokens[checked(id)]; }
  /// \return the id of a vocabulary entry, nothing if there is none.
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const {
    const auto found = file_.ids.find(std::string(token));
    return found == file_.ids.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  explicit Tokenizer(TokenizerFile file)
      : file_(std::move(file)), text_of_(size()), byte_of_(size(), -1), special_(size(), false) {
    for (std::size_t i = 0; i < size(); ++i) prepare(i);
    for (std::size_t byte = 0; byte < 256; ++byte)
      byte_of_[static_cast<std::size_t>(file_.byte_ids[byte])] = static_cast<std::int16_t>(byte);
    for (const auto& added : file_.added) {
      starts_added_[static_cast<unsigned char>(added.content[0])] = true;
      if (added.special) special_[static_cast<std::size_t>(added.id)] = true;
    }
    std::ranges::stable_sort(file_.added, std::ranges::greater(), [](const auto& a) { return a.content.size(); });
  }

  /// Text of a token with spaces for U+2581; one-character tokens also become known to the encoder.
  void prepare(std::size_t i) {
    const std::string& token = file_.tokens[i];
    for (std::size_t at = 0; at < token.size();) {
      const Utf8Step step = utf8_step(token, at);
      if (step.code_point == mark)
        text_of_[i] += ' ';
      else
        text_of_[i].append(token, at, step.bytes);
      if (step.bytes == token.size()) character_ids_.emplace(step.code_point, static_cast<std::int32_t>(i));
      at += step.bytes;
    }
  }

  [[nodiscard]] std::size_t checked(std::int32_t id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= size())
      throw UsageError(text("linden::Tokenizer: token id ", id, " is outside 0..", size() - 1));
    return static_cast<std::size_t>(id);
  }

  /// The longest added token that starts at `text[at]`, or nullptr.
  [[nodiscard]] const TokenizerFile::AddedToken* added_at(std::string_view text, std::size_t at) const {
    if (!starts_added_[static_cast<unsigned char>(text[at])]) return nullptr;
    for (const auto& added : file_.added)  // longest first
      if (text.substr(at).starts_with(added.content)) return &added;
    return nullptr;
  }

  void append_plain(std::string_view text, std::vector<std::int32_t>& symbols, std::vector<std::int32_t>& ids) const {
    if (text.empty()) return;
    symbols.clear();
    append_character(mark, word_mark, symbols);
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Step step = utf8_step(text, at);
      if (!step.valid)
        symbols.push_back(file_.byte_ids[static_cast<unsigned char>(text[at])]);
      else if (step.code_point == ' ')
        append_character(mark, word_mark, symbols);
      else
        append_character(step.code_point, text.substr(at, step.bytes), symbols);
      at += step.bytes;
    }
    file_.merges.apply(symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }

  void append_character(std::uint32_t code_point, std::string_view bytes, std::vector<std::int32_t>& symbols) const {
    const auto found = character_ids_.find(code_point);
    if (found != character_ids_.end()) return symbols.push_back(found->second);
    for (const char byte : bytes) symbols.push_back(file_.byte_ids[static_cast<unsigned char>(byte)]);
  }

  /// Moves a run of byte tokens to the text.
  static void append_bytes(std::string& bytes, std::string& out) {
    if (is_utf8(bytes)) {
      out += bytes;
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) out += "\xEF\xBF\xBD";  // U+FFFD
    }
    bytes.clear();
  }

  static constexpr std::uint32_t mark = 0x2581;  // the code point of word_mark

  TokenizerFile file_;
  std::unordered_map<std::uint32_t, std::int32_t> character_ids_;  // code point -> id
  std::vector<std::string> text_of_;                               // [id] -> text it decodes to
  std::vector<std::int16_t> byte_of_;                              // [id] -> the byte of `<0xXX>`, else -1
  std::vector<bool> special_;                                      // [id]
  std::array<bool, 256> starts_added_{};                           // [first byte of some added token]
};

}  // namespace linden
