#define BOOST_TEST_MODULE tokenizer
#include <linden/data/tokenizer.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"
#include "support/golden.hpp"

using namespace linden;
using linden::test::Folder;
using linden::test::refused;
using linden::test::SmallTokenizer;
using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;

namespace {

Json json_file(const std::filesystem::path& path) { return Json::parse(std::ifstream(path)); }

/// A tokenizer.json with the letters a..e and these merges, whose results join the vocabulary.
Json letters_with(const std::vector<std::pair<std::string, std::string>>& merges) {
  TrainedBpe bpe;
  for (const char* special : {"<unk>", "<s>", "</s>"}) bpe.tokens.emplace_back(special);
  for (unsigned byte = 0; byte < 256; ++byte) bpe.tokens.push_back(byte_token(byte));
  for (const char* letter : {"\xE2\x96\x81", "a", "b", "c", "d", "e"}) bpe.tokens.emplace_back(letter);
  const Folder folder;
  write_tokenizer(bpe, folder.path(), 64);
  Json json = json_file(folder.path() / "tokenizer.json");
  Json& vocabulary = json["model"]["vocab"];
  for (const auto& [left, right] : merges) {
    if (!vocabulary.contains(left + right)) vocabulary[left + right] = vocabulary.size();
    json["model"]["merges"].push_back({left, right});
  }
  return json;
}

Tokenizer tokenizer_of(const Json& json) {
  const Folder folder;
  return Tokenizer::load(folder.write("tokenizer.json", json.dump()));
}

/// The tokens of `text`, without the space in front.
std::vector<std::string> pieces(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> tokens;
  for (const std::int32_t id : tokenizer.encode(text, false)) tokens.push_back(tokenizer.token(id));
  BOOST_REQUIRE(tokens.front() == word_mark);
  tokens.erase(tokens.begin());
  return tokens;
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_golden_ids,
                     *boost::unit_test::precondition(test::needs_shared("golden/stories260k_base.json"))) {
  const auto tokenizer = Tokenizer::load(test::shared_folder() / "models" / "stories260K");
  BOOST_TEST(tokenizer.size() == 512U);
  BOOST_TEST(tokenizer.bos() == 1);
  BOOST_TEST(tokenizer.eos() == 2);
  BOOST_TEST(tokenizer.token(410) == word_mark);
  BOOST_TEST(tokenizer.id_of("\xE2\x96\x81the").value() == 265);
  BOOST_TEST(!tokenizer.id_of("absent").has_value());
  const auto golden = json_file(test::shared_folder() / "golden" / "stories260k_base.json");
  for (const auto& expected : golden.at("encode")) {
    const std::string text = expected.at("text");
    BOOST_TEST_CONTEXT(text) {
      const Ids ids = tokenizer.encode(text, true);
      BOOST_TEST(ids == expected.at("ids").get<Ids>(), boost::test_tools::per_element());
      BOOST_TEST(tokenizer.encode(text, false) == expected.at("ids_without_bos").get<Ids>(),
                 boost::test_tools::per_element());
      BOOST_TEST(tokenizer.decode(ids) == expected.at("decoded").get<std::string>());
    }
  }
}

// Ids and texts from Hugging Face tokenizers on the same file.
BOOST_AUTO_TEST_CASE(agrees_with_hugging_face_on_odd_input,
                     *boost::unit_test::precondition(test::needs_shared("models/stories260K"))) {
  const auto tokenizer = Tokenizer::load(test::shared_folder() / "models" / "stories260K" / "tokenizer.json");
  const auto encodes = [&](const std::string& text, const Ids& expected) {
    BOOST_TEST(tokenizer.encode(text, false) == expected, boost::test_tools::per_element());
  };
  encodes("hi</s>there", {270, 417, 2, 383});
  encodes("<s> a", {1, 410, 261});
  encodes("</s></s>", {2, 2});
  encodes(" <s> ", {410, 410, 1, 410, 410});
  encodes("<unk>", {0});
  encodes("<0x0A>", {410, 504, 477, 444, 477, 447, 505});
  encodes("a <s>b</s> c", {261, 410, 1, 268, 2, 410, 280});
  encodes("\xE2\x96\x81x", {410, 410, 444});
  encodes("</s", {410, 504, 492, 419});
  encodes(" ", {410, 410});
  encodes("<</s>>", {410, 504, 2, 410, 505});
  encodes(std::string("a\0b", 3), {261, 3, 430});
  const auto decodes = [&](const Ids& ids, const std::string& expected) {
    BOOST_TEST(tokenizer.decode(ids) == expected);
  };
  decodes({3 + 0xC3, 3 + 0xA9, 410, 3 + 0xFF, 3 + 0xC3, 412, 3 + 0xE2, 3 + 0x82},
          "\xC3\xA9 \xEF\xBF\xBD\xEF\xBF\xBD"
          "a\xEF\xBF\xBD\xEF\xBF\xBD");
  decodes({3 + 0x20, 412}, "a");
  decodes({410, 410, 412}, " a");
  decodes({412}, "a");
  decodes({3 + 0xC3, 2, 3 + 0xA9}, "\xC3\xA9");
  BOOST_TEST(tokenizer.decode(Ids{1, 261, 2}, false) == "<s> a</s>");
  BOOST_TEST(tokenizer.decode(Ids{}) == "");
}

BOOST_AUTO_TEST_CASE(merges_lowest_rank_first_then_leftmost) {
  const auto tokenizer = tokenizer_of(letters_with({{"b", "c"}, {"a", "b"}, {"a", "a"}, {"bc", "d"}, {"ab", "ab"}}));
  using Pieces = std::vector<std::string>;
  BOOST_TEST(pieces(tokenizer, "abc") == (Pieces{"a", "bc"}), boost::test_tools::per_element());
  BOOST_TEST(pieces(tokenizer, "aaa") == (Pieces{"aa", "a"}), boost::test_tools::per_element());
  BOOST_TEST(pieces(tokenizer, "abcdab") == (Pieces{"a", "bcd", "ab"}), boost::test_tools::per_element());
  BOOST_TEST(pieces(tokenizer, "ababab") == (Pieces{"abab", "ab"}), boost::test_tools::per_element());
  BOOST_TEST(pieces(tokenizer, "e") == (Pieces{"e"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(agrees_with_merging_one_pair_at_a_time) {
  const std::vector<std::pair<std::string, std::string>> merges{{"a", "b"}, {"b", "a"}, {"ab", "c"},  {"c", "ab"},
                                                                {"d", "d"}, {"c", "c"}, {"dd", "ab"}, {"ba", "dd"}};
  const auto tokenizer = tokenizer_of(letters_with(merges));
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    std::vector<std::string> expected;
    const int length = round % 2 == 0 ? 40 : 120;  // short and long rows are merged by different means
    for (int i = 0; i < length; ++i)
      text += static_cast<char>('a' + random() % 5U), expected.emplace_back(1, text.back());
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t m = 0; m < merges.size() && !changed; ++m)
        for (std::size_t i = 0; i + 1 < expected.size() && !changed; ++i)
          if (expected[i] == merges[m].first && expected[i + 1] == merges[m].second) {
            expected[i] += expected[i + 1];
            expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            changed = true;
          }
    }
    BOOST_TEST(pieces(tokenizer, text) == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(every_text_comes_back) {
  const SmallTokenizer folder;
  const auto tokenizer = Tokenizer::load(folder.path());
  for (const std::string text :
       {"Tom has 12 apples.", " a  b ", "\n\t\r", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "#### 5"})
    BOOST_TEST(tokenizer.decode(tokenizer.encode(text, true)) == text);
  const std::string all_bytes = [] {
    std::string s;
    for (int byte = 0; byte < 256; ++byte) s += static_cast<char>(byte);
    return s;
  }();
  const Ids ids = tokenizer.encode(all_bytes, false);
  for (int byte = 0x80; byte < 0x100; ++byte)  // each stands alone: none is valid UTF-8
    BOOST_TEST(std::ranges::count(ids, tokenizer.id_of(byte_token(static_cast<unsigned>(byte))).value()) == 1);
  BOOST_TEST(tokenizer.decode(tokenizer.encode("\xC3T", false)) == "\xEF\xBF\xBDT");
}

BOOST_AUTO_TEST_CASE(invalid_utf8_becomes_byte_tokens) {
  const auto tokenizer = tokenizer_of(letters_with({}));
  const auto bytes_of = [&](const std::string& text) {
    Ids bytes = tokenizer.encode(text, false);
    bytes.erase(bytes.begin());
    for (auto& id : bytes) id -= 3;
    return bytes;
  };
  const auto bytes_as_they_are = [&](const std::string& text) {
    Ids expected;
    for (const char c : text) expected.push_back(static_cast<unsigned char>(c));
    BOOST_TEST(bytes_of(text) == expected, boost::test_tools::per_element());
  };
  for (const char* text :
       {"\x80", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5", "\xE2\x82", "\xC3"})
    bytes_as_they_are(text);
  BOOST_TEST(!is_utf8("\xE0\x80\xAF"));
  BOOST_TEST(!is_utf8("\xED\xA0\x80"));
  BOOST_TEST(!is_utf8("\xF4\x90\x80\x80"));
  BOOST_TEST(!is_utf8("a\xE2\x82"));
  BOOST_TEST(is_utf8("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\xC2\x80\xE0\xA0\x80\xF0\x90\x80\x80"));
}

BOOST_AUTO_TEST_CASE(the_longest_added_token_wins) {
  Json json = letters_with({});
  const auto add = [&](const std::string& content, bool special) {
    const std::size_t id = json["model"]["vocab"].size() + json["added_tokens"].size() - 3;
    json["added_tokens"].push_back({{"id", id}, {"content", content}, {"special", special}, {"normalized", false}});
    return static_cast<std::int32_t>(id);
  };
  const auto a = add("<a", false), ab = add("<ab>", true), abc = add("<abc", false);
  const auto tokenizer = tokenizer_of(json);
  const auto mark = tokenizer.id_of(word_mark).value(), c = tokenizer.id_of("c").value();
  BOOST_TEST(tokenizer.encode("<ab><abc<ac", false) == (Ids{ab, abc, a, mark, c}), boost::test_tools::per_element());
  BOOST_TEST(tokenizer.decode(Ids{ab, a, mark, c}) == "<a c");
  BOOST_TEST(tokenizer.decode(Ids{ab, a, mark, c}, false) == "<ab><a c");
}

BOOST_AUTO_TEST_CASE(ids_outside_the_vocabulary_are_refused) {
  const auto tokenizer = tokenizer_of(letters_with({}));
  refused<UsageError>([&] { (void)tokenizer.token(265); }, {"token id 265 is outside 0..264"});
  refused<UsageError>([&] { (void)tokenizer.decode(Ids{1, -1}); }, {"token id -1 is outside 0..264"});
}

BOOST_AUTO_TEST_CASE(what_is_not_implemented_is_refused_by_name) {
  const Json good = letters_with({{"a", "b"}});
  const auto bad = [&](const char* operation, const char* field, Json value, std::vector<std::string> parts) {
    Json patch = Json::array({{{"op", operation}, {"path", field}}});
    if (!value.is_discarded()) patch[0]["value"] = std::move(value);
    parts.emplace_back("tokenizer.json");
    refused<DataError>([&] { (void)tokenizer_of(good.patch(patch)); }, parts);
  };
  const Json none(Json::value_t::discarded);
  BOOST_TEST(tokenizer_of(good).size() == 266U);
  bad("replace", "/version", "2.0", {"/version: found \"2.0\", expected \"1.0\""});
  bad("add", "/surprise", 1, {"/surprise: found 1, expected no such field"});
  bad("replace", "/truncation", {{"max_length", 5}}, {"/truncation"});
  bad("replace", "/padding", {{"pad_id", 0}}, {"/padding"});
  bad("replace", "/pre_tokenizer", {{"type", "ByteLevel"}}, {"/normalizer: found {", "expected null"});
  bad("replace", "/normalizer", nullptr, {"/normalizer: found null"});
  bad("replace", "/normalizer/normalizers/0/prepend", "_", {"/normalizer/normalizers/0/prepend: found \"_\""});
  bad("replace", "/decoder/decoders/3/start", 0, {"/decoder/decoders/3/start: found 0, expected 1"});
  bad("remove", "/decoder/decoders/2", none, {"/decoder/decoders/"});
  bad("replace", "/post_processor", nullptr, {"/post_processor/type"});
  bad("add", "/post_processor/single/-", {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}},
      {"/post_processor/single"});
  bad("replace", "/post_processor/special_tokens/<s>/ids", {2},
      {"/post_processor/special_tokens: ids of \"<s>\"", "[1]"});
  bad("replace", "/model/type", "Unigram", {"/model/type: found \"Unigram\", expected \"BPE\""});
  bad("replace", "/model/byte_fallback", false, {"/model/byte_fallback: found false, expected true"});
  bad("replace", "/model/fuse_unk", false, {"/model/fuse_unk"});
  bad("add", "/model/ignore_merges", true, {"/model/ignore_merges: found true, expected false"});
  bad("replace", "/model/dropout", 0.1, {"/model/dropout: found 0.1, expected null"});
  bad("replace", "/model/end_of_word_suffix", "</w>", {"/model/end_of_word_suffix"});
  bad("replace", "/model/unk_token", "<none>", {"/model/unk_token: found \"<none>\""});
  bad("add", "/model/extra", 1, {"/model/extra"});
  bad("remove", "/model", none, {"/model: found null, expected an object"});
  bad("replace", "/model/vocab", Json::array(), {"/model/vocab"});
  bad("replace", "/model/vocab/a", 3, {"/model/vocab: id of token", "found 3, expected an id no other token has"});
  bad("replace", "/model/vocab/a", 999, {"id of token \"a\": found 999, expected ids 0..265"});
  bad("replace", "/model/vocab/a", -1, {"id of token \"a\": found -1"});
  bad("replace", "/model/vocab/a", 1.5, {"id of token \"a\": found 1.5"});
  bad("replace", "/model/vocab/a", 4294967296, {"id of token \"a\": found 4294967296"});
  bad("replace", "/model/merges", nullptr, {"/model/merges: found null"});
  bad("add", "/model/merges/-", {"a", "z"}, {"/model/merges/1: found \"az\", expected a token of /model/vocab"});
  bad("add", "/model/merges/-", "b  c", {"/model/merges/1: found \"b  c\""});
  bad("add", "/model/merges/-", "a b", {"/model/merges/1", "expected a pair not merged before"});
  bad("add", "/model/merges/-", 7, {"/model/merges/1: found 7"});
  bad("replace", "/added_tokens/1/lstrip", true, {"/added_tokens/1/lstrip: found true, expected false"});
  bad("replace", "/added_tokens/1/normalized", true, {"/added_tokens/1/normalized"});
  bad("replace", "/added_tokens/1/id", 2, {"/added_tokens/1/id: found 2, expected 1"});
  bad("replace", "/added_tokens/1/content", "", {"/added_tokens/1/content"});
  bad("remove", "/added_tokens/1/special", none, {"/added_tokens/1/special: found null"});
  bad("replace", "/added_tokens", nullptr, {"/added_tokens: found null"});
}

BOOST_AUTO_TEST_CASE(missing_byte_tokens_are_refused) {
  Json json = letters_with({});
  Json& vocabulary = json["model"]["vocab"];
  vocabulary["<0x4g>"] = vocabulary["<0x41>"];
  vocabulary.erase("<0x41>");
  refused<DataError>([&] { (void)tokenizer_of(json); }, {"/model/vocab: no byte token <0x41>"});
}

BOOST_AUTO_TEST_CASE(merges_may_be_written_either_way) {
  Json json = letters_with({{"a", "b"}});
  const auto pairs = tokenizer_of(json);
  json["model"]["merges"] = {"a b"};
  BOOST_TEST(tokenizer_of(json).encode("abc", true) == pairs.encode("abc", true), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(tokenizer_config_names_the_end_and_is_checked) {
  const Folder folder;
  folder.write("tokenizer.json", letters_with({}).dump());
  const auto with = [&](const std::string& config) {
    folder.write("tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  };
  BOOST_TEST(Tokenizer::load(folder.path()).eos() == 2);
  BOOST_TEST(with(R"({"eos_token": "e"})").eos() == 264);
  BOOST_TEST(with(R"({"eos_token": {"content": "d", "lstrip": false}})").eos() == 263);
  BOOST_TEST(!with("{}").cleans_up_spaces());
  const auto cleaning = with(R"({"clean_up_tokenization_spaces": true})");
  BOOST_TEST(cleaning.cleans_up_spaces());
  BOOST_TEST(cleaning.decode(cleaning.encode("a .  b , c !d ? ' a n't 's 'm 've 're '", false)) ==
             "a.  b, c!d?'an't's'm've're '");
  const auto bad = [&](const std::string& config, const std::string& part) {
    refused<DataError>([&] { (void)with(config); }, {"tokenizer_config.json: " + part});
  };
  bad(R"({"eos_token": "<end>"})", "eos_token: found \"<end>\", expected a token of tokenizer.json");
  bad(R"({"bos_token": "</s>"})", "bos_token: found \"</s>\"");
  bad(R"({"add_bos_token": false})", "add_bos_token: found false, expected true");
  bad(R"({"add_eos_token": true})", "add_eos_token: found true, expected false");
  bad(R"({"clean_up_tokenization_spaces": 1})", "clean_up_tokenization_spaces: found 1, expected true or false");
  bad(R"({"eos_token": 7})", "eos_token: found 7");
  bad("[]", "top level");
  bad("{", "not JSON");
}

BOOST_AUTO_TEST_CASE(unreadable_files_are_refused) {
  const Folder folder;
  refused<DataError>([&] { (void)Tokenizer::load(folder.path()); },
                     {"no tokenizer.json, tokenizer.model or tokenizer.bin in this folder"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.path() / "none.json"); }, {"none.json: cannot be opened"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.path() / "none"); }, {"none: cannot be opened"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.write("x.json", std::string("{}\0", 3))); }, {"a zero byte"});
  refused<DataError>(
      [&] { (void)Tokenizer::load(folder.write("x.json", "{\"padding\": " + std::string(100000, '['))); },
      {"nests deeper than 64"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.write("x.json", "{\"version\"")); }, {"x.json: not JSON"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.write("x.json", "[]")); }, {"top level: found []"});
  refused<DataError>([&] { (void)Tokenizer::load(folder.write("x.json", "{\"v\": \"\xFF\"}")); }, {"not JSON"});
}

BOOST_AUTO_TEST_CASE(long_texts_take_time_in_proportion) {
  const SmallTokenizer folder;
  const auto tokenizer = Tokenizer::load(folder.path());
  std::string text;
  while (text.size() < 1'000'000) text += "Tom has 12 apples. ";
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = tokenizer.encode(text, false);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  BOOST_TEST(ids.size() < text.size() / 2);
  BOOST_TEST(taken.count() < 20.0);  // a quadratic merge loop takes many minutes
}
