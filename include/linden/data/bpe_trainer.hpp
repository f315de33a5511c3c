#pragma once
/// \file
/// Learns a byte-pair vocabulary from text and writes it as tokenizer.json, for linden::Tokenizer and Hugging Face
/// tokenizers alike.
/// Ids     `<unk>`, `<s>`, `</s>`, 256 byte tokens, characters by falling frequency, then pieces in merge order.
/// Pieces  only letters, or only punctuation, with a space (U+2581) at most in front; a digit joins nothing but that
///         space, so numbers are read digit by digit. Control characters (newline, tab) stay byte tokens.
/// Ties    between equal frequencies: lower code point, lower left id, lower right id; the order of the text, the
///         machine and the standard library do not matter.
/// Errors  UsageError for a size that does not fit the text; DataError for text that is no UTF-8 or an unwritable file.
/// Source  Sennrich, Haddow, Birch 2016; the layout is that of linden/data/tokenizer_file.hpp.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/data/tokenizer_file.hpp>
#include <linden/data/utf8.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace linden {

/// What to learn.
struct BpeOptions {
  std::size_t vocabulary = 512;  ///< tokens in all, special and byte tokens included
  long min_character_count = 1;  ///< characters seen less often are left to the byte tokens
  long min_pair_count = 2;       ///< pairs seen less often are not merged
};

/// A learned vocabulary: tokens by id, and merges by rank as pairs of ids.
struct TrainedBpe {
  std::vector<std::string> tokens;                            ///< by id
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;  ///< by rank, as pairs of ids
};

namespace detail {

/// The state of one training: words (stretches of text no merge may cross) as token ids, with their frequencies.
class BpeTrainer {
 public:
  BpeTrainer(std::span<const std::string> texts, BpeOptions options) : options_(options) {
    std::map<std::string, long> words;  // ordered: the same words give the same result
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (!is_utf8(texts[i])) throw DataError(text("linden::train_bpe: text ", i, " is not valid UTF-8"));
      count_words(texts[i], words);
    }
    add_base_tokens(words);
    for (const auto& [word, count] : words) words_.push_back({symbols_of(word), count});
    for (const Word& word : words_) count_pairs(word, word.count);
  }

  TrainedBpe train() {
    while (result_.tokens.size() < options_.vocabulary) {
      const Pair best = most_frequent();
      result_.merges.push_back(best);
      const std::int32_t merged = add_token(token(best.first) + token(best.second));
      for (Word& word : words_) merge_in(word, best, merged);
    }
    return std::move(result_);
  }

 private:
  using Pair = std::pair<std::int32_t, std::int32_t>;
  enum class Class { mark, letter, digit, control, other };
  struct Word {
    std::vector<std::int32_t> symbols;
    long count;
  };

  static constexpr std::uint32_t mark = 0x2581;  // the code point of word_mark

  static Class class_of(std::uint32_t c) {
    if (c == ' ' || c == mark) return Class::mark;
    if (c < 0x20 || c == 0x7F) return Class::control;
    if (c >= '0' && c <= '9') return Class::digit;
    const bool ascii_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return ascii_letter || c >= 0xC0 ? Class::letter : Class::other;
  }

  /// Cuts " don't 12" into the words " don", "'", "t", " 1", "2" (a space being U+2581 from here on).
  static void count_words(const std::string& text, std::map<std::string, long>& words) {
    if (text.empty()) return;
    std::string word(word_mark);  // the encoder puts a space in front of every text
    Class previous = Class::mark;
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Step step = utf8_step(text, at);
      const Class current = class_of(step.code_point);
      const bool joins = previous == Class::mark ? current != Class::mark && current != Class::control
                                                 : current == previous && current != Class::digit;
      if (!joins) ++words[std::exchange(word, "")];
      if (current == Class::mark)
        word += word_mark;
      else
        word.append(text, at, step.bytes);
      previous = current;
      at += step.bytes;
    }
    ++words[word];
  }

  void add_base_tokens(const std::map<std::string, long>& words) {
    for (const char* special : {"<unk>", "<s>", "</s>"}) add_token(special);
    for (unsigned byte = 0; byte < 256; ++byte) add_token(byte_token(byte));
    std::map<std::uint32_t, std::pair<long, std::string>> seen{{mark, {0, std::string(word_mark)}}};
    for (const auto& [word, count] : words)
      for (std::size_t at = 0; at < word.size();) {
        const Utf8Step step = utf8_step(word, at);
        auto& [total, character] = seen[step.code_point];
        total += count;
        character = word.substr(at, step.bytes);
        at += step.bytes;
      }
    std::vector<std::pair<long, std::string>> characters;
    for (const auto& [code_point, entry] : seen) {
      const bool kept = code_point == mark || entry.first >= options_.min_character_count;
      if (kept && class_of(code_point) != Class::control) characters.push_back(entry);
    }
    std::ranges::stable_sort(characters, std::ranges::greater(), [](const auto& c) { return c.first; });
    for (const auto& [count, character] : characters) add_token(character);
    if (result_.tokens.size() > options_.vocabulary)
      throw UsageError(text("linden::train_bpe: a vocabulary of ", options_.vocabulary, " is too small: special and ",
                            "byte tokens and ", characters.size(), " characters take ", result_.tokens.size(),
                            "; raise min_character_count to leave rare characters to the byte tokens"));
  }

  std::vector<std::int32_t> symbols_of(const std::string& word) const {
    std::vector<std::int32_t> symbols;
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t bytes = utf8_step(word, at).bytes;
      const auto found = ids_.find(word.substr(at, bytes));
      if (found != ids_.end()) {
        symbols.push_back(found->second);
      } else {
        for (std::size_t i = 0; i < bytes; ++i)
          symbols.push_back(ids_.at(byte_token(static_cast<unsigned char>(word[at + i]))));
      }
      at += bytes;
    }
    return symbols;
  }

  /// Two merges may build the same piece; it keeps its first id.
  std::int32_t add_token(const std::string& piece) {
    const auto [entry, is_new] = ids_.emplace(piece, static_cast<std::int32_t>(result_.tokens.size()));
    if (is_new) result_.tokens.push_back(piece);
    return entry->second;
  }

  [[nodiscard]] const std::string& token(std::int32_t id) const { return result_.tokens[static_cast<std::size_t>(id)]; }

  /// Byte tokens are never merged: what they spell is no text.
  [[nodiscard]] static bool mergeable(std::int32_t id) { return id >= 3 + 256; }

  void count_pairs(const Word& word, long change) {
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i)
      if (mergeable(word.symbols[i]) && mergeable(word.symbols[i + 1]))
        pair_counts_[{word.symbols[i], word.symbols[i + 1]}] += change;
  }

  [[nodiscard]] Pair most_frequent() const {
    const auto best = std::ranges::max_element(pair_counts_, {}, [](const auto& entry) { return entry.second; });
    if (best == pair_counts_.end() || best->second < std::max(options_.min_pair_count, 1L))
      throw UsageError(text("linden::train_bpe: the text gives only ", result_.tokens.size(), " tokens (pairs seen ",
                            options_.min_pair_count, " times or more), not ", options_.vocabulary));
    return best->first;  // the first of the largest: the map is ordered by ids
  }

  void merge_in(Word& word, const Pair& pair, std::int32_t merged) {
    const auto is_pair = [&](std::size_t i) {
      return i + 1 < word.symbols.size() && Pair(word.symbols[i], word.symbols[i + 1]) == pair;
    };
    std::size_t first = 0;
    while (first < word.symbols.size() && !is_pair(first)) ++first;
    if (first == word.symbols.size()) return;
    count_pairs(word, -word.count);
    std::size_t kept = first;
    for (std::size_t i = first; i < word.symbols.size(); ++i)
      word.symbols[kept++] = is_pair(i) ? (++i, merged) : word.symbols[i];
    word.symbols.resize(kept);
    count_pairs(word, word.count);
  }

  BpeOptions options_;
  TrainedBpe result_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<Word> words_;
  std::map<Pair, long> pair_counts_;
};

inline nlohmann::ordered_json added_tokens_json(const TrainedBpe& bpe) {
  auto list = nlohmann::ordered_json::array();
  for (std::size_t id = 0; id < 3; ++id)
    list.push_back({{"id", id},
                    {"content", bpe.tokens[id]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  return list;
}

/// Puts `<s>` in front of each text.
inline nlohmann::ordered_json post_processor_json() {
  return nlohmann::ordered_json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}})");
}

inline nlohmann::ordered_json model_json(const TrainedBpe& bpe) {
  using Json = nlohmann::ordered_json;
  Json vocabulary = Json::object(), merges = Json::array();
  for (std::size_t id = 0; id < bpe.tokens.size(); ++id) vocabulary[bpe.tokens[id]] = id;
  for (const auto& [left, right] : bpe.merges)
    merges.push_back(bpe.tokens[static_cast<std::size_t>(left)] + " " + bpe.tokens[static_cast<std::size_t>(right)]);
  Json model = Json::parse(R"({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                               "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true})");
  model["vocab"] = std::move(vocabulary);
  model["merges"] = std::move(merges);
  return model;
}

}  // namespace detail

/// Learns a vocabulary of exactly `options.vocabulary` tokens from `texts`.
[[nodiscard]] inline TrainedBpe train_bpe(std::span<const std::string> texts, BpeOptions options = {}) {
  return detail::BpeTrainer(texts, options).train();
}

/// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into `folder`, which is made if missing.
/// `max_length` is the longest text, in tokens, of the model the vocabulary is for.
inline void write_tokenizer(const TrainedBpe& bpe, const std::filesystem::path& folder, long max_length) {
  using Json = nlohmann::ordered_json;
  const Json tokenizer{{"version", "1.0"},
                       {"truncation", nullptr},
                       {"padding", nullptr},
                       {"added_tokens", detail::added_tokens_json(bpe)},
                       {"normalizer", Json::parse(detail::expected_normalizer)},
                       {"pre_tokenizer", nullptr},
                       {"post_processor", detail::post_processor_json()},
                       {"decoder", Json::parse(detail::expected_decoder)},
                       {"model", detail::model_json(bpe)}};
  const Json names{{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
  Json config{{"add_bos_token", true}, {"add_eos_token", false}};
  config.update(names);
  config.update(Json{{"clean_up_tokenization_spaces", false},
                     {"legacy", true},
                     {"model_max_length", max_length},
                     {"tokenizer_class", "LlamaTokenizerFast"}});
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw DataError(text(folder.string(), ": cannot be made: ", error.message()));
  write_atomically(folder / "special_tokens_map.json", names.dump(2) + "\n");
  write_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_atomically(folder / "tokenizer.json", tokenizer.dump(2) + "\n");
}

}  // namespace linden
