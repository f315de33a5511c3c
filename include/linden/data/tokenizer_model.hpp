#pragma once
/// \file
/// What every tokenizer file describes, whatever its format: a vocabulary, merges, and how text becomes the symbols
/// the merges start from. The readers (tokenizer_file.hpp, tiktoken_file.hpp, sentencepiece_file.hpp,
/// tokenizer_bin.hpp) fill a TokenizerModel; linden::Tokenizer runs it. Units   token ids, 0..tokens.size()-1 without
/// gaps. Errors  DataError naming the file for one that cannot be read.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <linden/core/input_file.hpp>
#include <linden/data/bpe.hpp>
#include <linden/data/split_pattern.hpp>
#include <linden/data/tokenizer_vocabulary.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace linden {

/// A token that does not come out of the merges: found literally in the text, or never found in it but decoded.
struct AddedToken {
  std::string content;     ///< its text
  std::int32_t id;         ///< its token id
  bool special;            ///< left out by a decoder that skips special tokens
  bool in_text = true;     ///< looked for in the text before anything else is done with it
  bool in_merges = false;  ///< also an entry of the vocabulary the merges work on
};

/// Text as SentencePiece sees it: spaces are U+2581; characters without a token of their own are byte tokens.
struct SentencePieceScheme {
  std::array<std::int32_t, 256> byte_ids;  ///< [byte] -> id of `<0xXX>`
  bool space_in_front = true;              ///< one space before each text, dropped again by the decoder
  bool single_spaces = false;              ///< spaces at both ends are dropped, runs of spaces become one
};

/// Text as its UTF-8 bytes, cut by a pattern; the vocabulary is in the alphabet of byte_level.hpp.
struct ByteLevelScheme {
  SplitPattern pattern;  ///< what cuts the text into pieces
  bool whole_pieces;     ///< a piece that is in the vocabulary is that token, whatever the merges say
};

/// A checked tokenizer file.
struct TokenizerModel {
  Vocabulary tokens;                                          ///< texts as in the file
  std::vector<AddedToken> added;                              ///< tokens beside the merges
  MergeTable merges;                                          ///< of pairs of ids
  std::int32_t bos = -1;                                      ///< id of the token that begins a text; -1: none
  std::int32_t eos = -1;                                      ///< id of the token that ends a text; -1: none
  bool clean_up_spaces = false;                               ///< the decoder removes spaces before punctuation
  std::variant<SentencePieceScheme, ByteLevelScheme> scheme;  ///< how text becomes the first tokens
};

namespace detail {

/// All bytes of a file.
[[nodiscard]] inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file = open_input(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace detail
}  // namespace linden
