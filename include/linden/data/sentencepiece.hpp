#pragma once
/// \file
/// SentencePiece-style encoding (Llama 2, llama2.c): text is its characters, with U+2581 for spaces, and bytes stand in
/// for characters the vocabulary lacks.
/// Encode  one space in front and single spaces where the model asks for them; every character is its token or else its
///         UTF-8 bytes as `<0xXX>`; merges apply, lowest rank first, leftmost first. A byte that belongs to no valid
///         character becomes its `<0xXX>` too: encoding never fails and loses nothing.
/// Decode  the inverse, less the space in front (with single spaces: less one space of each token until the text
/// begins).
///         A run of byte tokens that is no UTF-8 becomes U+FFFD, one per byte.
/// Speed   the text is cut where no merge could ever join the neighbours (in practice before most spaces), which
/// changes
///         no token and keeps the rows that are merged short.
/// Errors  none.
/// Source  github.com/google/sentencepiece; github.com/huggingface/tokenizers (models/bpe, decoders/byte_fallback).

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/data/bpe.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <linden/data/utf8.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace linden {

/// U+2581, "lower one eighth block": how SentencePiece vocabularies write a space.
inline constexpr std::string_view word_mark = "\xE2\x96\x81";

/// The vocabulary entry that stands for one byte: `<0x0A>`.
[[nodiscard]] inline std::string byte_token(unsigned byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4U & 15U], digits[byte & 15U], '>'};
}

/// Which symbols some merge can join across: where the last symbol of one token and the first of the next are no such
/// pair, the two sides never meet and can be merged apart.
class MergeBoundaries {
 public:
  /// `symbols` are what merging starts from; `tokens` is the size of the vocabulary.
  MergeBoundaries(const MergeTable& merges, std::span<const std::int32_t> symbols, std::size_t tokens)
      : first_(tokens, none), last_(tokens, none) {
    for (const std::int32_t symbol : symbols) first_[index(symbol)] = last_[index(symbol)] = symbol;
    while (spread(merges)) {
    }
    merges.for_each([&](std::int32_t left, std::int32_t right, MergeTable::Merge) {
      add(last_[index(left)], first_[index(right)]);
    });
  }

  /// False when no merge ever joins anything that ends in `left` to anything that begins with `right`.
  [[nodiscard]] bool may_join(std::int32_t left, std::int32_t right) const {
    return all_join_ || joins_.find(left, right) != nullptr;
  }

 private:
  static constexpr std::int32_t none = -1;  // no merge makes the token, as far as is known
  static constexpr std::int32_t many = -2;  // merges make it of different symbols; real vocabularies have no such token

  static std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }

  /// One step from the parts of each merge to its result. \return true when something was learned.
  bool spread(const MergeTable& merges) {
    bool changed = false;
    const auto learn = [&](std::int32_t& known, std::int32_t found) {
      if (found == none || found == known) return;
      changed |= known != many;
      known = known == none ? found : many;
    };
    merges.for_each([&](std::int32_t left, std::int32_t right, MergeTable::Merge merge) {
      learn(first_[index(merge.result)], first_[index(left)]);
      learn(last_[index(merge.result)], last_[index(right)]);
    });
    return changed;
  }

  void add(std::int32_t last, std::int32_t first) {
    if (last == none || first == none) return;  // no text ever needs this merge
    if (last == many || first == many)
      all_join_ = true;
    else
      joins_.add(last, first, true);
  }

  std::vector<std::int32_t> first_, last_;  // [id] -> the symbol it begins or ends with
  PairTable<bool> joins_;
  bool all_join_ = false;
};

/// Text without added tokens to ids, and ids to text.
class SentencePieceCoder {
 public:
  /// Takes the merges out of `model`.
  SentencePieceCoder(const SentencePieceScheme& scheme, TokenizerModel& model)
      : scheme_(scheme),
        merges_(std::move(model.merges)),
        text_of_(model.tokens.size()),
        byte_of_(model.tokens.size(), -1),
        boundaries_(merges_, learn_symbols(model), model.tokens.size()) {
    for (std::size_t byte = 0; byte < 256; ++byte)
      byte_of_[index(scheme_.byte_ids[byte])] = static_cast<std::int16_t>(byte);
  }

  /// Appends the ids of `text`.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const {
    if (scheme_.single_spaces) return encode_symbols(with_single_spaces(text), ids);
    encode_symbols(text, ids);
  }

  /// \return the text of `ids`.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const {
    std::string out, bytes;
    for (const std::int32_t id : ids) {
      const std::size_t i = index(id);
      if (byte_of_[i] >= 0) {
        bytes.push_back(static_cast<char>(byte_of_[i]));
        continue;
      }
      append_bytes(bytes, out);
      const bool drops_space = scheme_.single_spaces && out.empty() && text_of_[i].starts_with(' ');
      out.append(text_of_[i], drops_space ? 1 : 0);
    }
    append_bytes(bytes, out);
    if (scheme_.space_in_front && !scheme_.single_spaces && out.starts_with(' ')) out.erase(0, 1);
    return out;
  }

 private:
  static constexpr std::uint32_t mark = 0x2581;  // the code point of word_mark

  static std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }

  /// Fills text_of_ and the tokens of single characters. \return all ids merging can start from.
  std::vector<std::int32_t> learn_symbols(const TokenizerModel& model) {
    std::vector<std::int32_t> symbols(scheme_.byte_ids.begin(), scheme_.byte_ids.end());
    std::vector<bool> merged(model.tokens.size(), true);
    for (const AddedToken& added : model.added) merged[index(added.id)] = added.in_merges;
    ascii_ids_.fill(-1);
    for (std::size_t i = 0; i < model.tokens.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      const std::string& token = model.tokens[id];
      text_of_[i] = with_spaces(token);
      const Utf8Step step = token.empty() ? Utf8Step{0, 1, false} : utf8_step(token, 0);
      if (!merged[i] || !step.valid || step.bytes != token.size()) continue;
      symbols.push_back(id);
      character_ids_.emplace(step.code_point, id);
      if (step.code_point < ascii_ids_.size() && step.code_point != ' ') ascii_ids_[step.code_point] = id;
      if (step.code_point == mark) ascii_ids_[' '] = id;
    }
    return symbols;
  }

  /// `token` with U+2581 as spaces.
  static std::string with_spaces(std::string_view token) {
    std::string out;
    for (std::size_t at = 0; at < token.size();) {
      const bool is_mark = token.substr(at).starts_with(word_mark);
      out += is_mark ? ' ' : token[at];
      at += is_mark ? word_mark.size() : 1;
    }
    return out;
  }

  /// `text` without spaces at its ends, with one for each run of them. U+2581 ends up as a space: it is one at the end,
  /// where it is dropped, but not elsewhere.
  static std::string with_single_spaces(std::string_view text) {
    std::string out;
    for (const char c : text)
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
    for (;;) {
      if (out.ends_with(' '))
        out.pop_back();
      else if (out.ends_with(word_mark))
        out.resize(out.size() - word_mark.size());
      else
        return out;
    }
  }

  /// Symbols up to a boundary are merged as soon as it is met, in place.
  void encode_symbols(std::string_view text, std::vector<std::int32_t>& ids) const {
    if (text.empty()) return;
    std::size_t first = ids.size();  // of the symbols not merged yet
    const auto append = [&](std::int32_t symbol) {
      if (ids.size() > first && !boundaries_.may_join(ids.back(), symbol)) {
        merges_.apply(ids, first);
        first = ids.size();
      }
      ids.push_back(symbol);
    };
    if (scheme_.space_in_front) append_character(' ', word_mark, append);
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Step step = utf8_step(text, at);
      const std::string_view bytes = step.valid && text[at] == ' ' ? word_mark : text.substr(at, step.bytes);
      append_character(step.valid ? step.code_point : no_character, bytes, append);
      at += step.bytes;
    }
    merges_.apply(ids, first);
  }

  template <class Append>
  void append_character(std::uint32_t code_point, std::string_view bytes, Append append) const {
    const std::int32_t id = id_of(code_point);
    if (id >= 0) return append(id);
    for (const char byte : bytes) append(scheme_.byte_ids[static_cast<unsigned char>(byte)]);
  }

  [[nodiscard]] std::int32_t id_of(std::uint32_t code_point) const {
    if (code_point < ascii_ids_.size()) return ascii_ids_[code_point];
    const auto found = character_ids_.find(code_point);
    return found == character_ids_.end() ? -1 : found->second;
  }

  /// Moves a run of byte tokens to the text.
  static void append_bytes(std::string& bytes, std::string& out) {
    if (is_utf8(bytes)) {
      out += bytes;
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) out += replacement_character;
    }
    bytes.clear();
  }

  static constexpr std::uint32_t no_character = 0xFFFFFFFF;

  SentencePieceScheme scheme_;
  MergeTable merges_;
  std::array<std::int32_t, 128> ascii_ids_{};                      // [code point] -> id or -1; the space's is U+2581's
  std::unordered_map<std::uint32_t, std::int32_t> character_ids_;  // code point -> id
  std::vector<std::string> text_of_;                               // [id] -> text it decodes to
  std::vector<std::int16_t> byte_of_;                              // [id] -> the byte of `<0xXX>`, else -1
  MergeBoundaries boundaries_;
};

}  // namespace linden
