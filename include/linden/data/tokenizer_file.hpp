#pragma once
/// \file
/// Reads tokenizer.json. Two kinds, told apart by their pre-tokenizer:
///         SentencePiece (Llama 2, llama2.c): none; byte-pair encoding with byte fallback over text whose spaces are
///         U+2581.
///         byte-level (Llama 3): Split by a regular expression, then ByteLevel.
///         What the file asks for is either implemented or refused. tokenizer_config.json beside it is read too.
/// Errors  DataError naming file, field, found and expected.
/// Source  github.com/huggingface/tokenizers, the serialised form of Tokenizer (version 1.0).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/byte_level.hpp>
#include <linden/data/sentencepiece.hpp>
#include <linden/data/tokenizer_config.hpp>
#include <linden/data/tokenizer_json.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace linden {
namespace detail {

/// The parts of the SentencePiece kind that must be exactly these. `decoder` undoes `normalizer`.
inline constexpr const char* expected_normalizer = R"({"type": "Sequence", "normalizers": [
  {"type": "Prepend", "prepend": "\u2581"},
  {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})";
inline constexpr const char* expected_decoder = R"({"type": "Sequence", "decoders": [
  {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
  {"type": "ByteFallback"}, {"type": "Fuse"},
  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

/// One reading of one tokenizer.json; its steps fill a TokenizerModel.
class TokenizerFileReader {
 public:
  using Json = nlohmann::json;

  explicit TokenizerFileReader(const std::filesystem::path& path) : path_(path), file_(path) {}

  TokenizerModel read() {
    file_.require_known_keys("", {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                  "post_processor", "decoder", "model"});
    file_.require_equal("/version", Json("1.0"));
    for (const char* field : {"/truncation", "/padding"}) file_.require_equal(field, Json());
    const bool byte_level = !file_.at("/pre_tokenizer").is_null();
    byte_level ? check_byte_level() : check_sentencepiece();
    check_model(byte_level);
    read_vocabulary();
    read_merges();
    read_bos();
    byte_level ? read_byte_level() : read_sentencepiece();
    apply_tokenizer_config(model_, path_, byte_level ? "<|end_of_text|>" : "</s>");
    return std::move(model_);
  }

 private:
  [[nodiscard]] const Json& at(const std::string& field) const { return file_.at(field); }

  void check_sentencepiece() const {
    file_.require_equal("/normalizer", Json::parse(expected_normalizer));
    file_.require_equal("/decoder", Json::parse(expected_decoder));
  }

  void check_byte_level() const {
    file_.require_equal("/normalizer", Json());
    const std::string field = "/pre_tokenizer", split = field + "/pretokenizers/0", bytes = field + "/pretokenizers/1";
    const Json& list = at(field + "/pretokenizers");
    const bool sequence = at(field + "/type") == "Sequence" && list.is_array() && list.size() == 2;
    file_.require(sequence, field, at(field), "null or a Sequence of Split and ByteLevel");
    file_.require_equal(split + "/type", "Split");
    file_.require_known_keys(split, {"type", "pattern", "behavior", "invert"});
    file_.require_known_keys(split + "/pattern", {"Regex"});
    file_.require(at(split + "/pattern/Regex").is_string(), split + "/pattern/Regex", at(split + "/pattern/Regex"),
                  "a regular expression");
    file_.require_equal(split + "/behavior", "Isolated");
    file_.require_equal(split + "/invert", false);
    check_byte_level_object(bytes);
    file_.require_equal(bytes + "/add_prefix_space", false);
    file_.require_equal(bytes + "/use_regex", false);
    check_byte_level_object("/decoder");
  }

  /// Its flags, where nothing else is said, change offsets of tokens in the text but not their ids.
  void check_byte_level_object(const std::string& field) const {
    file_.require_equal(field + "/type", "ByteLevel");
    file_.require_known_keys(field, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }

  void check_model(bool byte_level) const {
    file_.require_known_keys(
        "/model", {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                   "byte_fallback", "ignore_merges", "vocab", "merges"});
    file_.require_equal("/model/type", "BPE");
    file_.require_equal("/model/dropout", Json());
    for (const char* field : {"/model/continuing_subword_prefix", "/model/end_of_word_suffix"})
      if (at(field) != "") file_.require_equal(field, Json());
    file_.require(at("/model/vocab").is_object(), "/model/vocab", at("/model/vocab"), "an object of token: id");
    file_.require(at("/model/merges").is_array(), "/model/merges", at("/model/merges"), "an array of pairs");
    byte_level ? check_byte_level_model() : check_sentencepiece_model();
  }

  void check_sentencepiece_model() const {
    for (const char* field : {"/model/fuse_unk", "/model/byte_fallback"}) file_.require_equal(field, true);
    if (!at("/model/ignore_merges").is_null()) file_.require_equal("/model/ignore_merges", false);
    const Json& unknown = at("/model/unk_token");
    const bool fits = unknown.is_null() || (unknown.is_string() && at("/model/vocab").contains(unknown));
    file_.require(fits, "/model/unk_token", unknown, "null or a token of /model/vocab");
  }

  void check_byte_level_model() const {
    file_.require_equal("/model/unk_token", Json());
    file_.require_equal("/model/byte_fallback", false);
    if (!at("/model/ignore_merges").is_null()) file_.require_flag("/model/ignore_merges");
  }

  /// Ids of /model/vocab and of added tokens outside it; together they must be 0..n-1.
  void read_vocabulary() {
    read_added_tokens();
    const Json& vocabulary = at("/model/vocab");
    const auto outside = std::ranges::count(model_.added, false, &AddedToken::in_merges);
    std::vector<const std::string*> tokens(vocabulary.size() + static_cast<std::size_t>(outside));  // [id]
    for (const auto& item : vocabulary.items()) {
      if (!TokenizerJson::is_id(item.value())) fail_id(item.key(), item.value(), "an integer from 0 to 2147483647");
      place(item.key(), item.value().get<std::int32_t>(), tokens);
    }
    for (const AddedToken& added : model_.added)
      if (!added.in_merges) place(added.content, added.id, tokens);
    for (const std::string* token : tokens) model_.tokens.add(*token);
  }

  /// Every token gets a place of its own, so none is left over.
  void place(const std::string& token, std::int32_t id, std::vector<const std::string*>& tokens) const {
    const auto i = static_cast<std::size_t>(id);
    if (i >= tokens.size()) fail_id(token, id, text("ids 0..", tokens.size() - 1, " for so many different tokens"));
    if (std::exchange(tokens[i], &token) != nullptr) fail_id(token, id, "an id no other token has");
  }

  [[noreturn]] void fail_id(const std::string& token, const Json& found, const std::string& expected) const {
    file_.fail("/model/vocab: id of token " + TokenizerJson::brief(token), found, expected);
  }

  void read_added_tokens() {
    const Json& list = at("/added_tokens");
    file_.require(list.is_array(), "/added_tokens", list, "an array");
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string field = text("/added_tokens/", i);
      file_.require_known_keys(field, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      for (const char* flag : {"/single_word", "/lstrip", "/rstrip", "/normalized"}) {
        const Json& found = at(field + flag);
        file_.require(found.is_null() || found == false, field + flag, found, "false");
      }
      const Json &content = at(field + "/content"), &id = at(field + "/id");
      file_.require(content.is_string() && content != "", field + "/content", content, "a non-empty string");
      file_.require_flag(field + "/special");
      file_.require(TokenizerJson::is_id(id), field + "/id", id, "an integer from 0 to 2147483647");
      file_.require(seen.insert(content.get<std::string>()).second, field + "/content", content,
                    "a token not added yet");
      add_token(content.get<std::string>(), id.get<std::int32_t>(), at(field + "/special").get<bool>(), field);
    }
  }

  void add_token(const std::string& content, std::int32_t id, bool special, const std::string& field) {
    const Json& vocabulary = at("/model/vocab");
    const auto known = vocabulary.find(content);
    const bool in_merges = known != vocabulary.end();
    if (in_merges && *known != id) file_.fail(field + "/id", id, text(*known, ", its id in /model/vocab"));
    model_.added.push_back({content, id, special, true, in_merges});
  }

  void read_merges() {
    const Json& list = at("/model/merges");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto [left, right] = pair_in(list[i], i);
      const std::int32_t result = merged_id(std::string(left).append(right), i);
      if (!model_.merges.add(merged_id(left, i), merged_id(right, i), result))
        file_.fail(merge_field(i), list[i], "a pair not merged before");
    }
  }

  static std::string merge_field(std::size_t i) { return text("/model/merges/", i); }

  [[nodiscard]] std::pair<std::string_view, std::string_view> pair_in(const Json& entry, std::size_t i) const {
    const auto view = [](const Json& s) { return std::string_view(s.get_ref<const std::string&>()); };
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string())
      return {view(entry[0]), view(entry[1])};
    const std::string_view joined = entry.is_string() ? view(entry) : std::string_view();
    const std::size_t space = joined.find(' ');
    if (space == std::string_view::npos || space != joined.rfind(' '))
      file_.fail(merge_field(i), entry, "\"left right\" or [\"left\", \"right\"]");
    return {joined.substr(0, space), joined.substr(space + 1)};
  }

  [[nodiscard]] std::int32_t merged_id(std::string_view token, std::size_t i) const {
    const auto found = model_.tokens.find(token);
    if (!found) file_.fail(merge_field(i), token, "a token of /model/vocab");
    return *found;
  }

  /// Encoding offers one text at a time, so the template for pairs is not looked at.
  void read_bos() {
    const std::string field = template_field();
    const Json &single = at(field + "/single"), &name = at(field + "/single/0/SpecialToken/id");
    const bool fits = single.is_array() && single.size() == 2 && name.is_string() && single[1].is_object() &&
                      at(field + "/single/1/Sequence/id") == "A";
    file_.require(fits, field + "/single", single, "one special token, then sequence A");
    const auto bos = model_.tokens.find(name.get<std::string>());
    file_.require(bos.has_value(), field + "/single/0/SpecialToken/id", name, "a token of the file");
    model_.bos = *bos;
    const Json& specials = at(field + "/special_tokens");
    const bool listed = specials.is_object() && specials.contains(name.get<std::string>());
    const Json ids = listed ? specials[name.get<std::string>()].value("ids", Json()) : Json();
    file_.require(ids == Json::array({model_.bos}), field + "/special_tokens: ids of " + TokenizerJson::brief(name),
                  ids, text("[", model_.bos, "]"));
  }

  /// Where the TemplateProcessing is: alone, or after a ByteLevel, which changes offsets but no ids.
  [[nodiscard]] std::string template_field() const {
    const std::string field = "/post_processor";
    if (at(field + "/type") != "Sequence") {
      file_.require_equal(field + "/type", "TemplateProcessing");
      return field;
    }
    const Json& list = at(field + "/processors");
    file_.require(list.is_array() && list.size() == 2, field + "/processors", list, "ByteLevel and TemplateProcessing");
    check_byte_level_object(field + "/processors/0");
    file_.require_equal(field + "/processors/1/type", "TemplateProcessing");
    return field + "/processors/1";
  }

  void read_sentencepiece() {
    SentencePieceScheme scheme;
    for (unsigned byte = 0; byte < 256; ++byte) scheme.byte_ids[byte] = byte_id(byte_token(byte), "<0x00> to <0xFF>");
    model_.scheme = scheme;
  }

  void read_byte_level() {
    for (unsigned byte = 0; byte < 256; ++byte)
      (void)byte_id(byte_level_text(std::string(1, static_cast<char>(byte))),
                    "the 256 characters that stand for bytes");
    const std::string field = "/pre_tokenizer/pretokenizers/0/pattern/Regex";
    try {
      model_.scheme = ByteLevelScheme{SplitPattern(at(field).get<std::string>()), at("/model/ignore_merges") == true};
    } catch (const DataError& error) {
      throw DataError(text(path_.string(), ": ", field, ": ", error.what()));
    }
  }

  [[nodiscard]] std::int32_t byte_id(const std::string& token, std::string_view expected) const {
    if (!at("/model/vocab").contains(token))
      throw DataError(text(path_.string(), ": /model/vocab: no byte token ", token, ", expected all of ", expected));
    return model_.tokens.find(token).value();
  }

  std::filesystem::path path_;
  TokenizerJson file_;
  TokenizerModel model_;
};

}  // namespace detail

/// Reads and checks a tokenizer.json.
[[nodiscard]] inline TokenizerModel read_tokenizer_file(const std::filesystem::path& path) {
  return detail::TokenizerFileReader(path).read();
}

}  // namespace linden
