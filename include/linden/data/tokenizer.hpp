#pragma once
/// \file
/// Text to token ids and back, for the tokenizers Llama models come with:
///         tokenizer.json        Hugging Face; SentencePiece-style (Llama 2) or byte-level (Llama 3)
///         tokenizer.model       Meta; SentencePiece's own format (Llama 2) or tiktoken's (Llama 3)
///         tokenizer.bin         llama2.c
/// Encode  added tokens (`<s>`, `<|eot_id|>`, ...) are split off where the file format has them; the text between goes
///         to the coder of its kind (sentencepiece.hpp, byte_level.hpp). Any bytes can be encoded: those that are no
///         UTF-8 become byte tokens.
/// Decode  the inverse; always valid UTF-8. If `clean_up_tokenization_spaces` is true in tokenizer_config.json, as it
/// is
///         for Llama 3, spaces before punctuation and English contractions are removed, as transformers does.
/// Errors  DataError from load; UsageError for an id outside the vocabulary.
/// Source  github.com/huggingface/tokenizers and transformers; each reader and coder names its own.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/byte_level.hpp>
#include <linden/data/sentencepiece.hpp>
#include <linden/data/sentencepiece_file.hpp>
#include <linden/data/tiktoken_file.hpp>
#include <linden/data/tokenizer_added.hpp>
#include <linden/data/tokenizer_bin.hpp>
#include <linden/data/tokenizer_file.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <linden/data/tokenizer_vocabulary.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace linden {

/// A tokenizer. Immutable after loading: any number of threads may use one.
class Tokenizer {
 public:
  /// Reads a tokenizer file, or the one in a model folder: tokenizer.json, else tokenizer.model, else tokenizer.bin.
  /// A file is JSON if it is named .json, llama2.c's if named .bin; the two kinds of tokenizer.model are told apart by
  /// their first byte.
  [[nodiscard]] static Tokenizer load(const std::filesystem::path& path) {
    const std::filesystem::path file = tokenizer_in(path);
    if (file.extension() == ".json") return Tokenizer(read_tokenizer_file(file));
    if (file.extension() == ".bin") return Tokenizer(read_tokenizer_bin(file));
    return Tokenizer(is_sentencepiece(file) ? read_sentencepiece_file(file) : read_tiktoken_file(file));
  }

  /// \return token ids of `text`, after bos() if `add_bos`. No eos is added.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_bos) const {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size() / 3 + 8);
    if (add_bos) ids.push_back(bos_);
    added_.split(
        text, [&](std::string_view stretch) { std::visit([&](const auto& c) { c.encode(stretch, ids); }, coder_); },
        [&](std::int32_t id) { ids.push_back(id); });
    return ids;
  }

  /// \return the text of `ids`, without special tokens if `skip_special`.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const {
    std::vector<std::int32_t> kept;
    for (const std::int32_t id : ids)
      if (!special_[static_cast<std::size_t>(checked(id))] || !skip_special) kept.push_back(id);
    std::string text = std::visit([&](const auto& coder) { return coder.decode(kept); }, coder_);
    return clean_up_spaces_ ? with_clean_spaces(std::move(text)) : text;
  }

  /// Number of tokens; ids are 0..size()-1.
  [[nodiscard]] std::size_t size() const { return tokens_.size(); }
  /// The token in front of every text.
  [[nodiscard]] std::int32_t bos() const { return bos_; }
  /// The token that ends an answer.
  [[nodiscard]] std::int32_t eos() const { return eos_; }
  /// True when decode removes spaces before punctuation (`clean_up_tokenization_spaces` of tokenizer_config.json).
  [[nodiscard]] bool cleans_up_spaces() const { return clean_up_spaces_; }
  /// \return the vocabulary entry of `id`, as in tokenizer.json: "▁the", "<0x0A>", "</s>"; byte-level "Ġthe".
  [[nodiscard]] const std::string& token(std::int32_t id) const { return tokens_[checked(id)]; }
  /// \return the id of a vocabulary entry, nothing if there is none.
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const { return tokens_.find(token); }

 private:
  using Coder = std::variant<SentencePieceCoder, ByteLevelCoder>;

  explicit Tokenizer(TokenizerModel model)
      : coder_(coder_of(model)),
        added_(model.added),
        tokens_(std::move(model.tokens)),
        special_(tokens_.size(), false),
        bos_(model.bos),
        eos_(model.eos),
        clean_up_spaces_(model.clean_up_spaces) {
    for (const AddedToken& added : model.added)
      if (added.special) special_[static_cast<std::size_t>(added.id)] = true;
  }

  static Coder coder_of(TokenizerModel& model) {
    if (const auto* scheme = std::get_if<SentencePieceScheme>(&model.scheme)) return SentencePieceCoder(*scheme, model);
    return ByteLevelCoder(std::get<ByteLevelScheme>(model.scheme), model);
  }

  static std::filesystem::path tokenizer_in(const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) return path;
    for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer.bin"})
      if (std::filesystem::exists(path / name)) return path / name;
    throw DataError(text(path.string(), ": no tokenizer.json, tokenizer.model or tokenizer.bin in this folder"));
  }

  /// SentencePiece's begins with field 1, length-delimited (0x0A); base64 never does.
  static bool is_sentencepiece(const std::filesystem::path& file) { return detail::read_bytes(file).starts_with('\n'); }

  [[nodiscard]] std::int32_t checked(std::int32_t id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= size())
      throw UsageError(text("linden::Tokenizer: token id ", id, " is outside 0..", size() - 1));
    return id;
  }

  static std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t found = std::min(text.find(from, at), text.size());
      out.append(text, at, found - at);
      if (found < text.size()) out += to;
      at = found + from.size();
    }
    return out;
  }

  /// Each replacement goes over the whole text before the next one begins.
  static std::string with_clean_spaces(std::string text) {
    using Replacement = std::pair<std::string_view, std::string_view>;
    constexpr std::array<Replacement, 10> replacements{{{" .", "."},
                                                        {" ?", "?"},
                                                        {" !", "!"},
                                                        {" ,", ","},
                                                        {" ' ", "'"},
                                                        {" n't", "n't"},
                                                        {" 'm", "'m"},
                                                        {" 's", "'s"},
                                                        {" 've", "'ve"},
                                                        {" 're", "'re"}}};
    for (const auto& [from, to] : replacements) text = replaced(text, from, to);
    return text;
  }

  Coder coder_;
  AddedTokens added_;
  Vocabulary tokens_;          // texts as in the file
  std::vector<bool> special_;  // [id]
  std::int32_t bos_;
  std::int32_t eos_;
  bool clean_up_spaces_;
};

}  // namespace linden
