#define BOOST_TEST_MODULE bpe_trainer
#include <linden/data/bpe_trainer.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <linden/data/tokenizer.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::Folder;
using linden::test::refused;
using Pieces = std::vector<std::string>;

namespace {

constexpr std::size_t base = 3 + 256;  // special and byte tokens
const std::string mark(word_mark);

TrainedBpe trained(const std::vector<std::string>& texts, std::size_t vocabulary, long min_characters = 1) {
  return train_bpe(texts, {.vocabulary = vocabulary, .min_character_count = min_characters});
}

Pieces learned(const TrainedBpe& bpe) { return {bpe.tokens.begin() + base, bpe.tokens.end()}; }

}  // namespace

BOOST_AUTO_TEST_CASE(learns_by_hand_checked_frequencies) {
  // words " aab" x2, " ab" x1: characters a 5, b 3, U+2581 3. Pairs: a b 3 and U+2581 a 3, the lower left id first;
  // then a ab 2 (lower left id) and U+2581 ab 1, U+2581 a 2; then U+2581 aab 2.
  const auto bpe = trained({"aab aab ab"}, base + 3 + 3);
  BOOST_TEST(bpe.tokens[0] == "<unk>");
  BOOST_TEST(bpe.tokens[1] == "<s>");
  BOOST_TEST(bpe.tokens[2] == "</s>");
  BOOST_TEST(bpe.tokens[3 + 0x0A] == "<0x0A>");
  BOOST_TEST(learned(bpe) == (Pieces{"a", "b", mark, "ab", "aab", mark + "aab"}), boost::test_tools::per_element());
  BOOST_TEST(bpe.merges.size() == 3U);
}

BOOST_AUTO_TEST_CASE(order_of_the_texts_does_not_matter) {
  auto texts = test::small_corpus();
  const auto a = trained(texts, 320);
  std::ranges::reverse(texts);
  const auto b = trained(texts, 320);
  BOOST_TEST(a.tokens == b.tokens, boost::test_tools::per_element());
  BOOST_TEST((a.merges == b.merges));
}

BOOST_AUTO_TEST_CASE(pieces_keep_to_letters_or_punctuation_with_a_space_in_front) {
  const auto bpe =
      trained({"a1 12 12 12 1212 #### #### it's it's end. end. x\nx\n\n\tx  x caf\xC3\xA9 caf\xC3\xA9"}, base + 31);
  for (std::size_t id = base; id < bpe.tokens.size(); ++id) {
    const std::string& piece = bpe.tokens[id];
    BOOST_TEST((piece.find(mark, 1) == std::string::npos), piece);
    const std::string body = piece.starts_with(mark) ? piece.substr(mark.size()) : piece;
    const auto count = [&](auto wanted) { return std::ranges::count_if(body, wanted); };
    const long digits = count([](char c) { return c >= '0' && c <= '9'; });
    const long letters = count([](char c) { return (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80; });
    const long all = static_cast<long>(body.size());
    BOOST_TEST((digits == 0 || all == 1), piece);
    BOOST_TEST((letters == 0 || letters == all), piece);
    BOOST_TEST(count([](char c) { return c == '\n' || c == '\t'; }) == 0);
  }
  const auto has = [&](const std::string& piece) { return std::ranges::count(bpe.tokens, piece) == 1; };
  BOOST_TEST(has("####") == false);
  BOOST_TEST(has(mark + "####"));
  BOOST_TEST(has(mark + "1"));
  BOOST_TEST(has(mark + "caf\xC3\xA9"));
}

BOOST_AUTO_TEST_CASE(encoding_gives_the_tokens_of_training) {
  const Folder folder;
  write_tokenizer(trained(test::small_corpus(), 320), folder.path(), 64);
  const auto tokenizer = Tokenizer::load(folder.path());
  BOOST_TEST(tokenizer.size() == 320U);
  BOOST_TEST(tokenizer.bos() == 1);
  BOOST_TEST(tokenizer.eos() == 2);
  const auto pieces = [&](const std::string& text) {
    Pieces tokens;
    for (const std::int32_t id : tokenizer.encode(text, false)) tokens.push_back(tokenizer.token(id));
    return tokens;
  };
  BOOST_TEST(pieces("apples 12\n####") == (Pieces{mark + "apples", mark + "1", "2", "<0x0A>", "##", "##"}),
             boost::test_tools::per_element());
  for (const std::string& text : test::small_corpus())
    BOOST_TEST(tokenizer.decode(tokenizer.encode(text, true)) == text);
}

BOOST_AUTO_TEST_CASE(rare_characters_are_left_to_bytes) {
  const Folder folder;
  write_tokenizer(trained({"aaa aaa aaa \xE2\x82\xAC"}, base + 4, 2), folder.path(), 64);
  const auto tokenizer = Tokenizer::load(folder.path());
  BOOST_TEST(!tokenizer.id_of("\xE2\x82\xAC").has_value());
  BOOST_TEST(tokenizer.decode(tokenizer.encode("\xE2\x82\xAC", false)) == "\xE2\x82\xAC");
}

BOOST_AUTO_TEST_CASE(writes_the_companions) {
  const Folder folder;
  write_tokenizer(trained({"ab ab ab"}, base + 4), folder.path() / "new" / "model", 128);
  const auto read = [&](const char* name) {
    return nlohmann::json::parse(std::ifstream(folder.path() / "new" / "model" / name));
  };
  BOOST_TEST(read("tokenizer_config.json").at("model_max_length") == 128);
  BOOST_TEST(read("tokenizer_config.json").at("eos_token") == "</s>");
  BOOST_TEST(read("special_tokens_map.json").at("unk_token") == "<unk>");
  BOOST_TEST(read("tokenizer.json").at("model").at("merges").at(0) == "a b");
  const auto files = std::filesystem::directory_iterator(folder.path() / "new" / "model");
  BOOST_TEST(std::distance(begin(files), end(files)) == 3);  // nothing partial is left behind
}

BOOST_AUTO_TEST_CASE(impossible_requests_are_refused) {
  refused<UsageError>([] { (void)trained({"abc"}, base + 3); },
                      {"a vocabulary of 262 is too small", "4 characters take 263", "raise min_character_count"});
  refused<UsageError>([] { (void)trained({"ab ab"}, 512); }, {"gives only 264 tokens", "not 512"});
  refused<UsageError>([] { (void)trained({}, 512); }, {"gives only 260 tokens"});
  refused<DataError>([] { (void)trained({"a", "\xFF"}, 300); }, {"text 1 is not valid UTF-8"});
  const Folder folder;
  folder.write("file", "");
  refused<DataError>([&] { write_tokenizer(trained({"ab ab ab"}, base + 4), folder.path() / "file", 64); }, {"file"});
}
