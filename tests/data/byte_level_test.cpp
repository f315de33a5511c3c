#define BOOST_TEST_MODULE byte_level
#include <linden/data/byte_level.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <linden/data/tokenizer.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::byte_level_json;
using linden::test::Folder;
using linden::test::refused;
using linden::test::small_byte_level_tokens;
using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;
using Pieces = std::vector<std::string>;

namespace {

Tokenizer tokenizer_of(const Json& json, const std::string& config = "") {
  const Folder folder;
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return Tokenizer::load(folder.write("tokenizer.json", json.dump()));
}

Tokenizer small() { return tokenizer_of(byte_level_json(small_byte_level_tokens())); }

Pieces pieces(const Tokenizer& tokenizer, const std::string& text) {
  Pieces tokens;
  for (const std::int32_t id : tokenizer.encode(text, false)) tokens.push_back(tokenizer.token(id));
  return tokens;
}

/// Set this to a Llama 3 model folder to check the published ids, which need Meta's vocabulary.
boost::test_tools::assertion_result has_llama3(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result here = std::getenv("LINDEN_LLAMA3_TOKENIZER") != nullptr;
  here.message() << "SKIPPED: set LINDEN_LLAMA3_TOKENIZER to a Llama 3 tokenizer";
  return here;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_alphabet_is_that_of_the_files) {
  BOOST_TEST(byte_level_text(" \n\t~!\x7F") == "\xC4\xA0\xC4\x8A\xC4\x89~!\xC4\xA1");
  BOOST_TEST(byte_level_text("\xA0\xA1\xAC\xAD\xAE\xFF") == "\xC5\x82\xC2\xA1\xC2\xAC\xC5\x83\xC2\xAE\xC3\xBF");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  BOOST_TEST(byte_level_bytes(byte_level_text(all)).value() == all);
  BOOST_TEST(!byte_level_bytes(" ").has_value());
  BOOST_TEST(!byte_level_bytes("\xC5\x84").has_value());  // U+0144, one past the last
}

BOOST_AUTO_TEST_CASE(pieces_are_cut_and_merged) {
  const auto tokenizer = small();
  const auto gives = [&](const std::string& text, const Pieces& expected) {
    BOOST_TEST(pieces(tokenizer, text) == expected, boost::test_tools::per_element());
  };
  gives("apples apples", {"apples",
                          "\xC4\xA0"
                          "apples"});
  gives("the12345", {"t", "he", "12", "3", "4", "5"});  // cut after 123
  gives("an's", {"an", "'s"});
  gives("an'S'll", {"an", "'", "S", "'ll"});
  gives("   an", {"\xC4\xA0\xC4\xA0",
                  "\xC4\xA0"
                  "a",
                  "n"});
  gives("!!\n\n!", {"!!", "\xC4\x8A\xC4\x8A", "!"});
  gives("\xC3\xA9", {"\xC3\x83\xC2\xA9"});
  gives("", {});
}

BOOST_AUTO_TEST_CASE(whole_pieces_come_before_merges_if_the_file_says_so) {
  auto tokens = small_byte_level_tokens();
  tokens.insert(tokens.end(), {"xy", "yz", "xyz"});
  Json json = byte_level_json(tokens);
  json["model"]["merges"] = {"x y", {"y", "z"}};  // none leads to xyz
  BOOST_TEST(pieces(tokenizer_of(json), "xyz") == Pieces{"xyz"}, boost::test_tools::per_element());
  json["model"]["ignore_merges"] = false;
  BOOST_TEST(pieces(tokenizer_of(json), "xyz") == (Pieces{"xy", "z"}), boost::test_tools::per_element());
  json["model"].erase("ignore_merges");
  BOOST_TEST(pieces(tokenizer_of(json), "xyz") == (Pieces{"xy", "z"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(special_tokens_and_bos) {
  const auto tokenizer = small();
  const auto bos = tokenizer.id_of("<|begin_of_text|>").value(), eot = tokenizer.id_of("<|eot_id|>").value();
  BOOST_TEST(tokenizer.bos() == bos);
  BOOST_TEST(eot == bos + 9);
  BOOST_TEST(tokenizer.eos() == bos + 1);
  BOOST_TEST(tokenizer.size() == small_byte_level_tokens().size() + 256);
  BOOST_TEST(tokenizer.token(static_cast<std::int32_t>(tokenizer.size()) - 1) == "<|reserved_special_token_247|>");
  const Ids ids = tokenizer.encode("an<|eot_id|>an<|eot_id", true);
  BOOST_TEST(ids[0] == bos);
  BOOST_TEST(ids[2] == eot);
  BOOST_TEST(std::ranges::count(ids, eot) == 1);
  BOOST_TEST(tokenizer.decode(ids) == "anan<|eot_id");
  BOOST_TEST(tokenizer.decode(ids, false) == "<|begin_of_text|>an<|eot_id|>an<|eot_id");
}

BOOST_AUTO_TEST_CASE(any_bytes_can_be_encoded_and_none_is_lost) {
  const auto tokenizer = small();
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    const std::string text = test::hostile_text(random, random() % 200U);
    std::string bytes;
    for (const std::string& piece : pieces(tokenizer, text)) bytes += byte_level_bytes(piece).value();
    BOOST_TEST(bytes == text);
    BOOST_TEST(tokenizer.decode(tokenizer.encode(text, true), false) == "<|begin_of_text|>" + to_valid_utf8(text));
  }
  BOOST_TEST(pieces(tokenizer,
                    "an\xFF"
                    "an") == (Pieces{"an", "\xC3\xBF", "an"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_no_utf8_becomes_the_replacement_character) {
  const std::string r(replacement_character);
  const std::vector<std::pair<std::string, std::string>> expected{{"a\xFF"
                                                                   "b",
                                                                   "a" + r + "b"},
                                                                  {"\xC3", r},
                                                                  {"\xE2\x82", r},
                                                                  {"\xE2\x82"
                                                                   "a",
                                                                   r + "a"},
                                                                  {"\xE0\x80\xAF", r + r + r},
                                                                  {"\xED\xA0\x80", r + r + r},
                                                                  {"\xF0\x9F\x98", r},
                                                                  {"\xF0\x9F\x98\x80\xF0\x9F", "\xF0\x9F\x98\x80" + r},
                                                                  {"\xF0\x80\x80\x80", r + r + r + r},
                                                                  {"\xF4\x90\x80\x80", r + r + r + r},
                                                                  {"\xC0\xAF", r + r},
                                                                  {"\xF1\x80\xE1\x80\xC2"
                                                                   "b",
                                                                   r + r + r + "b"}};
  for (const auto& [bytes, text] : expected) BOOST_TEST(to_valid_utf8(bytes) == text);
  const auto tokenizer = small();
  const auto first = tokenizer.id_of(byte_level_text("\xF0\x9F")).value(), last = first + 1;
  BOOST_TEST(tokenizer.decode(Ids{first, tokenizer.id_of("a").value()}) == r + "a");
  BOOST_TEST(tokenizer.decode(Ids{last, tokenizer.id_of(byte_level_text("\x80")).value()}) == "\xF0\x9F\x98\x80");
}

BOOST_AUTO_TEST_CASE(the_configuration_asks_for_clean_spaces) {
  const auto tokenizer = tokenizer_of(byte_level_json(small_byte_level_tokens()),
                                      R"({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
                                          "clean_up_tokenization_spaces": true})");
  BOOST_TEST(tokenizer.eos() == tokenizer.bos() + 9);
  BOOST_TEST(tokenizer.decode(tokenizer.encode("#### 1 ,000 .", true)) == "#### 1,000.");
}

BOOST_AUTO_TEST_CASE(threads_share_a_tokenizer) {
  const auto tokenizer = small();
  std::mt19937 random(3);
  const std::string text = test::hostile_text(random, 20000);
  const Ids expected = tokenizer.encode(text, true);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { ids = tokenizer.encode(text, true); });
  for (auto& thread : threads) thread.join();
  for (const Ids& ids : found) BOOST_TEST(ids == expected);
}

BOOST_AUTO_TEST_CASE(what_is_not_implemented_is_refused_by_name) {
  const Json good = byte_level_json(small_byte_level_tokens());
  const auto bad = [&](const std::string& field, const Json& value, const std::string& part) {
    Json json = good;
    json[Json::json_pointer(field)] = value;
    refused<DataError>([&] { (void)tokenizer_of(json); }, {"tokenizer.json: " + part});
  };
  const std::string split = "/pre_tokenizer/pretokenizers/0", bytes = "/pre_tokenizer/pretokenizers/1";
  bad("/normalizer", {{"type", "NFC"}}, "/normalizer");
  bad("/pre_tokenizer", {{"type", "ByteLevel"}},
      "/pre_tokenizer: found {\"type\":\"ByteLevel\"}, expected null or a Seq");
  bad(split + "/type", "Digits", "/pre_tokenizer/pretokenizers/0/type: found \"Digits\", expected \"Split\"");
  bad(split + "/behavior", "Removed", split + "/behavior: found \"Removed\"");
  bad(split + "/invert", true, split + "/invert: found true");
  bad(split + "/pattern", {{"String", " "}}, split + "/pattern/String");
  bad(split + "/pattern/Regex", "(", split + "/pattern/Regex: regular expression ( does not compile: missing closing");
  bad(split + "/pattern/Regex", "a*", split + "/pattern/Regex: split pattern a* may match nothing");
  bad(bytes + "/add_prefix_space", true, bytes + "/add_prefix_space: found true");
  bad(bytes + "/use_regex", true, bytes + "/use_regex: found true");
  bad("/decoder/type", "Fuse", "/decoder/type: found \"Fuse\", expected \"ByteLevel\"");
  bad("/post_processor/type", "BertProcessing", "/post_processor/type");
  bad("/post_processor/processors/1/type", "ByteLevel", "/post_processor/processors/1/type");
  bad("/post_processor/processors/1/single", Json::array(), "/post_processor/processors/1/single");
  bad("/post_processor/processors/1/special_tokens/<|begin_of_text|>/ids", {7},
      "/post_processor/processors/1/special_tok");
  bad("/model/byte_fallback", true, "/model/byte_fallback: found true");
  bad("/model/unk_token", "a", "/model/unk_token: found \"a\"");
  bad("/model/ignore_merges", 1, "/model/ignore_merges: found 1, expected true or false");
  bad("/model/continuing_subword_prefix", "##", "/model/continuing_subword_prefix");
  bad("/added_tokens/3/content", "<|eot_id|>", "/added_tokens/9/content");
  bad("/added_tokens/3/id", 4, "/model/vocab: id of token \"<|");
  Json json = good;
  json["model"]["vocab"]["zzz"] = json["model"]["vocab"]["z"];
  json["model"]["vocab"].erase("z");
  refused<DataError>([&] { (void)tokenizer_of(json); }, {"/model/vocab: no byte token z, expected all of the 256"});
  json = good;
  json["added_tokens"][1]["content"] = "<|other|>";
  refused<DataError>([&] { (void)tokenizer_of(json); },
                     {"no token <|end_of_text|> to end a text, expected eos_token in"});
}

// Ids that Meta's and Hugging Face's programs give for the real vocabulary.
BOOST_AUTO_TEST_CASE(agrees_with_the_published_ids, *boost::unit_test::precondition(has_llama3)) {
  const auto tokenizer = Tokenizer::load(std::getenv("LINDEN_LLAMA3_TOKENIZER"));
  const auto gives = [&](const std::string& text, const Ids& expected) {
    BOOST_TEST(tokenizer.encode(text, false) == expected, boost::test_tools::per_element());
  };
  gives("Hello world", {9906, 1917});
  gives("Question: What is 2+2?\nAnswer: ", {14924, 25, 3639, 374, 220, 17, 10, 17, 5380, 16533, 25, 220});
  gives(" 4", {220, 19});
  gives("4\n#### 4", {19, 198, 827, 220, 19});
  gives("12345678", {4513, 10961, 2495});
  gives("I'LL don't  it's\n\n  x", {40, 6, 4178, 1541, 956, 220, 433, 596, 271, 220, 865});
  gives("### Instruction:\nHi\n\n### Response:\n", {14711, 30151, 512, 13347, 271, 14711, 6075, 512});
  gives("   leading", {256, 6522});
  gives("\t\ttabs\r\n\r\nend  ", {197, 3324, 3518, 881, 408, 256});
  gives("caf\xC3\xA9 na\xC3\xAFve \xE2\x80\x94 \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x99\x82",
        {936, 59958, 95980, 588, 2001, 105180, 102158, 28584});
}
