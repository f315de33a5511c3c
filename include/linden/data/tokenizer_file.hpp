#pragma once
/// \file
/// Reads `tokenizer.json` of the SentencePiece kind (Llama 2, llama2.c): byte-pair encoding with byte fallback over
/// text whose spaces are U+2581, nothing else. What the file asks for is either implemented by linden::Tokenizer or
/// refused. Reads   tokenizer.json; beside it, if there, tokenizer_config.json (keys bos_token, eos_token,
/// add_bos_token,
///         add_eos_token, clean_up_tokenization_spaces; its other keys do not change token ids and are not looked at).
/// Errors  DataError naming file, field, found and expected.
/// Source  github.com/huggingface/tokenizers, the serialised form of Tokenizer (version 1.0).

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/data/bpe.hpp>
#include <nlohmann/json.hpp>
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

/// A checked tokenizer.json: ids are 0..tokens.size()-1 without gaps, every merge names tokens that exist.
struct TokenizerFile {
  /// A token found literally in the text before anything else is done with it.
  struct AddedToken {
    std::string content;
    std::int32_t id;
    bool special;  ///< left out by a decoder that skips special tokens
  };

  std::vector<std::string> tokens;                    ///< [id] -> text as in the file
  std::unordered_map<std::string, std::int32_t> ids;  ///< text as in the file -> id
  std::array<std::int32_t, 256> byte_ids;             ///< [byte] -> id of `<0xXX>`
  std::vector<AddedToken> added;
  MergeTable merges;
  std::int32_t bos;
  std::int32_t eos;
};

namespace detail {

/// The parts of tokenizer.json that must be exactly these. `decoder` undoes `normalizer`.
inline constexpr const char* expected_normalizer = R"({"type": "Sequence", "normalizers": [
  {"type": "Prepend", "prepend": "\u2581"},
  {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})";
inline constexpr const char* expected_decoder = R"({"type": "Sequence", "decoders": [
  {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
  {"type": "ByteFallback"}, {"type": "Fuse"},
  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

/// One reading of one tokenizer.json; its steps fill a TokenizerFile.
class TokenizerFileReader {
 public:
  using Json = nlohmann::json;

  explicit TokenizerFileReader(std::filesystem::path path) : path_(std::move(path)), root_(parse(path_)) {}

  TokenizerFile read() {
    require(root_.is_object(), path_, "top level", root_, "an object");
    require_known_keys(root_, "",
                       {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                        "post_processor", "decoder", "model"});
    require_equal("/version", Json("1.0"));
    for (const char* field : {"/truncation", "/padding", "/pre_tokenizer"}) require_equal(field, Json());
    require_equal("/normalizer", Json::parse(expected_normalizer));
    require_equal("/decoder", Json::parse(expected_decoder));
    read_model_settings();
    read_vocabulary();
    read_byte_tokens();
    read_merges();
    read_bos();
    read_companion();
    return std::move(result_);
  }

 private:
  static Json parse(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw DataError(text(path.string(), ": cannot be opened"));
    try {
      return Json::parse(file);
    } catch (const Json::exception& e) {
      throw DataError(text(path.string(), ": not JSON: ", e.what()));
    }
  }

  static std::string brief(const Json& value) {
    const std::string all = value.dump(-1, ' ', true);
    return all.size() <= 120 ? all : all.substr(0, 117) + "...";
  }

  static void require(bool holds, const std::filesystem::path& path, std::string_view field, const Json& found,
                      std::string_view expected) {
    if (!holds) throw DataError(text(path.string(), ": ", field, ": found ", brief(found), ", expected ", expected));
  }

  /// The value at a JSON pointer; a missing one reads as null.
  [[nodiscard]] const Json& at(const char* field) const {
    static const Json null;
    const Json::json_pointer pointer(field);
    return root_.contains(pointer) ? root_.at(pointer) : null;
  }

  void require_equal(const char* field, const Json& expected) const {
    const Json& found = at(field);
    if (found == expected) return;
    const Json::json_pointer first(Json::diff(expected, found).at(0).at("path").get<std::string>());
    const std::string where = field + first.to_string();
    require(false, path_, where, at(where.c_str()), expected.contains(first) ? brief(expected.at(first)) : "nothing");
  }

  void require_known_keys(const Json& object, std::string_view where,
                          std::initializer_list<std::string_view> known) const {
    for (const auto& item : object.items()) {
      bool is_known = false;
      for (const std::string_view k : known) is_known |= k == item.key();
      require(is_known, path_, text(where, "/", item.key()), item.value(), "no such field");
    }
  }

  void read_model_settings() {
    const Json& model = at("/model");
    require(model.is_object(), path_, "/model", model, "an object");
    require_equal("/model/type", Json("BPE"));
    require_known_keys(model, "/model",
                       {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                        "byte_fallback", "ignore_merges", "vocab", "merges"});
    for (const char* field : {"/model/dropout", "/model/continuing_subword_prefix", "/model/end_of_word_suffix"})
      require_equal(field, Json());
    for (const char* field : {"/model/fuse_unk", "/model/byte_fallback"}) require_equal(field, Json(true));
    if (!at("/model/ignore_merges").is_null()) require_equal("/model/ignore_merges", Json(false));
    require(at("/model/vocab").is_object(), path_, "/model/vocab", at("/model/vocab"), "an object of token: id");
    require(at("/model/merges").is_array(), path_, "/model/merges", at("/model/merges"), "an array of pairs");
    const Json& unknown = at("/model/unk_token");
    const bool fits = unknown.is_null() || (unknown.is_string() && at("/model/vocab").contains(unknown));
    require(fits, path_, "/model/unk_token", unknown, "null or a token of /model/vocab");
  }

  /// Ids of /model/vocab and of added tokens outside it; together they must be 0..n-1.
  void read_vocabulary() {
    for (const auto& item : at("/model/vocab").items())
      result_.ids.emplace(item.key(), id_in(item.value(), text("/model/vocab: id of token ", brief(item.key()))));
    read_added_tokens();
    result_.tokens.resize(result_.ids.size());
    std::vector<bool> taken(result_.ids.size(), false);
    for (const auto& [token, id] : result_.ids) {
      const auto i = static_cast<std::size_t>(id);
      const std::string field = text("/model/vocab: id of token ", brief(token));
      require(i < taken.size(), path_, field, id, text("ids 0..", taken.size() - 1, " for so many different tokens"));
      require(!taken[i], path_, field, id, "an id no other token has");
      taken[i] = true;
      result_.tokens[i] = token;
    }
  }

  void read_added_tokens() {
    const Json& list = at("/added_tokens");
    require(list.is_array(), path_, "/added_tokens", list, "an array");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string field = text("/added_tokens/", i);
      const Json& entry = list[i];
      require(entry.is_object(), path_, field, entry, "an object");
      require_known_keys(entry, field, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
        const Json found = entry.value(flag, Json(false));
        require(found == false, path_, text(field, "/", flag), found, "false");
      }
      const Json content = entry.value("content", Json()), special = entry.value("special", Json());
      require(content.is_string() && content != "", path_, text(field, "/content"), content, "a non-empty string");
      require(special.is_boolean(), path_, text(field, "/special"), special, "true or false");
      const std::int32_t id = id_in(entry.value("id", Json()), text(field, "/id"));
      const auto known = result_.ids.emplace(content.get<std::string>(), id).first;
      require(known->second == id, path_, text(field, "/id"), id,
              text(known->second, ", its id elsewhere in the file"));
      result_.added.push_back({content.get<std::string>(), id, special.get<bool>()});
    }
  }

  [[nodiscard]] std::int32_t id_in(const Json& value, const std::string& field) const {
    const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() <= std::numeric_limits<int>::max();
    require(fits, path_, field, value, "an integer from 0 to 2147483647");
    return value.get<std::int32_t>();
  }

  void read_byte_tokens() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const auto found = result_.ids.find(byte_token(byte));
      if (found == result_.ids.end())
        throw DataError(text(path_.string(), ": /model/vocab: no byte token ", byte_token(byte),
                             ", expected all of <0x00> to <0xFF>"));
      result_.byte_ids[byte] = found->second;
    }
  }

  void read_merges() {
    const Json& list = at("/model/merges");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string field = text("/model/merges/", i);
      const auto [left, right] = pair_in(list[i], field);
      const std::int32_t result = known_id(left + right, field);
      const bool is_new = result_.merges.add(known_id(left, field), known_id(right, field), result);
      require(is_new, path_, field, list[i], "a pair not merged before");
    }
  }

  [[nodiscard]] std::pair<std::string, std::string> pair_in(const Json& entry, const std::string& field) const {
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string())
      return {entry[0].get<std::string>(), entry[1].get<std::string>()};
    const std::string joined = entry.is_string() ? entry.get<std::string>() : std::string();
    const std::size_t space = joined.find(' ');
    require(space != std::string::npos && space == joined.rfind(' '), path_, field, entry,
            "\"left right\" or [\"left\", \"right\"]");
    return {joined.substr(0, space), joined.substr(space + 1)};
  }

  [[nodiscard]] std::int32_t known_id(const std::string& token, const std::string& field) const {
    const auto found = result_.ids.find(token);
    require(found != result_.ids.end(), path_, field, token, "a token of /model/vocab");
    return found->second;
  }

  /// Encoding offers one text at a time, so the template for pairs is not looked at.
  void read_bos() {
    require_equal("/post_processor/type", Json("TemplateProcessing"));
    const Json& single = at("/post_processor/single");
    const Json& name = at("/post_processor/single/0/SpecialToken/id");
    const bool fits = single.is_array() && single.size() == 2 && name.is_string() && single[1].is_object() &&
                      at("/post_processor/single/1/Sequence/id") == "A";
    require(fits, path_, "/post_processor/single", single, "one special token, then sequence A");
    result_.bos = known_id(name.get<std::string>(), "/post_processor/single/0/SpecialToken/id");
    const Json specials = at("/post_processor/special_tokens");
    const Json ids =
        specials.is_object() ? specials.value(name.get<std::string>(), Json::object()).value("ids", Json()) : Json();
    require(ids == Json::array({result_.bos}), path_, "/post_processor/special_tokens: ids of " + brief(name), ids,
            text("[", result_.bos, "]"));
  }

  /// tokenizer_config.json says which token ends a text; without it `</s>` does.
  void read_companion() {
    const std::filesystem::path path = path_.parent_path() / "tokenizer_config.json";
    Json config = Json::object();
    if (std::filesystem::exists(path)) config = parse(path);
    require(config.is_object(), path, "top level", config, "an object");
    const auto flag = [&](const char* key, bool expected) {
      const Json found = config.value(key, Json(expected));
      require(found == expected || found.is_null(), path, key, found, expected ? "true" : "false");
    };
    flag("add_bos_token", true);
    flag("add_eos_token", false);
    flag("clean_up_tokenization_spaces", false);
    const std::string bos = named_token(config, "bos_token", result_.tokens[static_cast<std::size_t>(result_.bos)]);
    require(result_.ids.contains(bos) && result_.ids.at(bos) == result_.bos, path, "bos_token", bos,
            "the token the post-processor of tokenizer.json adds");
    const std::string eos = named_token(config, "eos_token", "</s>");
    require(result_.ids.contains(eos), path, "eos_token", eos, "a token of tokenizer.json");
    result_.eos = result_.ids.at(eos);
  }

  /// Written as "</s>" or as {"content": "</s>", ...}.
  static std::string named_token(const Json& config, const char* key, const std::string& otherwise) {
    const Json found = config.value(key, Json());
    if (found.is_string()) return found.get<std::string>();
    if (found.is_object() && found.value("content", Json()).is_string()) return found["content"].get<std::string>();
    return otherwise;
  }

  std::filesystem::path path_;
  Json root_;
  TokenizerFile result_;
};

}  // namespace detail

/// Reads and checks `path`, a tokenizer.json or a folder that holds one.
[[nodiscard]] inline TokenizerFile read_tokenizer_file(const std::filesystem::path& path) {
  const bool folder = std::filesystem::is_directory(path);
  return detail::TokenizerFileReader(folder ? path / "tokenizer.json" : path).read();
}

}  // namespace linden
