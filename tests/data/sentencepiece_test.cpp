#define BOOST_TEST_MODULE sentencepiece
#include <bit>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <linden/data/sentencepiece_file.hpp>
#include <linden/data/tokenizer.hpp>
#include <linden/data/tokenizer_bin.hpp>
#include <random>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"
#include "support/golden.hpp"

using namespace linden;
using linden::test::Folder;
using linden::test::refused;
using Ids = std::vector<std::int32_t>;

namespace {

// ---- a protocol buffer written by hand --------------------------------------------------

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80U; value >>= 7U) out += static_cast<char>(0x80U | (value & 0x7FU));
  return out + static_cast<char>(value);
}
std::string number(unsigned field, std::uint64_t value) { return varint(field << 3U) + varint(value); }
std::string bytes_field(unsigned field, const std::string& bytes) {
  return varint(field << 3U | 2U) + varint(bytes.size()) + bytes;
}
std::string little_endian(std::uint32_t value) {
  std::string out;
  for (unsigned i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xFFU);
  return out;
}
std::string real_bits(float value) { return little_endian(std::bit_cast<std::uint32_t>(value)); }
std::string piece(const std::string& text, float score, unsigned type) {
  return bytes_field(
      1, bytes_field(1, text) + varint(2U << 3U | 5U) + real_bits(score) + (type == 1 ? "" : number(3, type)));
}

const std::string bpe_trainer = number(3, 2) + number(35, 1);
const std::string plain_normalizer = bytes_field(1, "identity") + bytes_field(2, "") + number(4, 0);

/// Tokens of a SentencePiece-style vocabulary, as train_bpe gives them, with falling scores.
std::string pieces_of(const std::vector<std::string>& tokens) {
  std::string out;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const unsigned type = id == 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1;
    out += piece(tokens[id], id < 259 ? 0.0F : -static_cast<float>(id), type);
  }
  return out;
}
std::string model(const std::vector<std::string>& tokens, const std::string& trainer = bpe_trainer,
                  const std::string& normalizer = plain_normalizer) {
  return pieces_of(tokens) + bytes_field(2, trainer) + bytes_field(3, normalizer);
}

std::string tokenizer_bin(const std::vector<std::string>& tokens) {
  std::string out = little_endian(64);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    std::string token = tokens[id];
    if (id == 1 || id == 2) token = "\n" + token + "\n";
    for (std::size_t at; (at = token.find(word_mark)) != std::string::npos;) token.replace(at, word_mark.size(), " ");
    out += real_bits(-static_cast<float>(id)) + little_endian(static_cast<std::uint32_t>(token.size())) + token;
  }
  return out;
}

// ---- vocabularies -----------------------------------------------------------------------

/// Learned from small_corpus(): characters first, then pieces in the order of their merges.
TrainedBpe learned() { return train_bpe(test::small_corpus(), {.vocabulary = 330}); }

/// Special and byte tokens, then these.
std::vector<std::string> vocabulary(const std::vector<std::string>& pieces) {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  for (unsigned byte = 0; byte < 256; ++byte) tokens.push_back(byte_token(byte));
  tokens.insert(tokens.end(), pieces.begin(), pieces.end());
  return tokens;
}

Tokenizer load(const std::string& bytes, const char* name = "tokenizer.model") {
  const Folder folder;
  return Tokenizer::load(folder.write(name, bytes));
}

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> out;
  for (const std::int32_t id : tokenizer.encode(text, false)) out.push_back(tokenizer.token(id));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_three_formats_agree) {
  const TrainedBpe bpe = learned();
  const Folder json_folder, folder;
  write_tokenizer(bpe, json_folder.path(), 64);
  const auto json = Tokenizer::load(json_folder.path()), own = load(model(bpe.tokens)),
             bin = Tokenizer::load(folder.write("tokenizer.bin", tokenizer_bin(bpe.tokens)));
  for (const Tokenizer* other : {&own, &bin}) {
    BOOST_TEST(other->size() == json.size());
    BOOST_TEST(other->bos() == 1);
    BOOST_TEST(other->eos() == 2);
    for (std::int32_t id = 0; id < static_cast<std::int32_t>(json.size()); ++id)
      BOOST_TEST(other->token(id) == json.token(id));
  }
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string text = test::hostile_text(random, random() % 120U);
    while (text.find("</s>") != std::string::npos) text.erase(text.find("</s>"), 4);  // only the JSON looks for it
    const Ids ids = json.encode(text, true);
    for (const Tokenizer* other : {&own, &bin}) {
      BOOST_TEST(other->encode(text, true) == ids, boost::test_tools::per_element());
      BOOST_TEST(other->decode(ids) == json.decode(ids));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_shipped_model_agrees_with_its_json,
                     *boost::unit_test::precondition(test::needs_shared("models/stories260K/tok512.bin"))) {
  const auto folder = test::shared_folder() / "models" / "stories260K";
  const auto json = Tokenizer::load(folder), own = Tokenizer::load(folder / "tokenizer.model"),
             bin = Tokenizer::load(folder / "tok512.bin");
  const std::string text = "Once upon a time, there was a caf\xC3\xA9.\nIt had 12 chairs";
  BOOST_TEST(own.encode(text, true) == json.encode(text, true), boost::test_tools::per_element());
  BOOST_TEST(bin.encode("  two  spaces ", true) == json.encode("  two  spaces ", true),
             boost::test_tools::per_element());
  BOOST_TEST(own.encode("  two  spaces ", true) == json.encode("two spaces", true), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(scores_order_the_merges_and_control_pieces_stay_out_of_the_text) {
  // "bc" scores above "ab", and "abc" can be made in two ways, which share its rank.
  const auto tokenizer =
      load(model(vocabulary({"bc", "ab", "abc", std::string(word_mark), "a", "b", "c", "<", "s", ">"})));
  const std::string mark(word_mark);
  BOOST_TEST(tokens_of(tokenizer, "abc") == (std::vector{mark, std::string("abc")}), boost::test_tools::per_element());
  BOOST_TEST(tokens_of(tokenizer, "abb") == (std::vector<std::string>{mark, "ab", "b"}),
             boost::test_tools::per_element());
  BOOST_TEST(tokens_of(tokenizer, "<s>") == (std::vector<std::string>{mark, "<", "s", ">"}),
             boost::test_tools::per_element());
  BOOST_TEST(tokenizer.decode(Ids{1, 263, 2}) == "a");
}

BOOST_AUTO_TEST_CASE(normalizer_settings_are_honoured) {
  const auto tokens = vocabulary({std::string(word_mark), "a", "b"});
  const std::string mark(word_mark);
  const auto defaults = load(model(tokens, bpe_trainer, ""));  // both on
  BOOST_TEST(tokens_of(defaults, "  a   b  ") == (std::vector<std::string>{mark, "a", mark, "b"}),
             boost::test_tools::per_element());
  BOOST_TEST(tokens_of(defaults, "   ").empty());
  BOOST_TEST(tokens_of(defaults, "a" + mark + " ") == (std::vector<std::string>{mark, "a"}),
             boost::test_tools::per_element());
  BOOST_TEST(defaults.decode(Ids{259, 259, 260}) == "a");
  const auto bare = load(model(tokens, bpe_trainer, number(3, 0) + number(4, 0)));
  BOOST_TEST(tokens_of(bare, " a  b") == (std::vector<std::string>{mark, "a", mark, mark, "b"}),
             boost::test_tools::per_element());
  BOOST_TEST(bare.decode(Ids{259, 260}) == " a");
}

BOOST_AUTO_TEST_CASE(trainer_settings_name_bos_and_eos) {
  auto tokens = vocabulary({"a"});
  std::swap(tokens[1], tokens[2]);
  const std::string names = bpe_trainer + bytes_field(46, "</s>") + bytes_field(47, "a");
  const auto tokenizer = load(model(tokens, names));
  BOOST_TEST(tokenizer.bos() == 1);
  BOOST_TEST(tokenizer.eos() == 259);
}

BOOST_AUTO_TEST_CASE(cutting_at_boundaries_changes_nothing) {
  std::mt19937 random(13);
  for (int round = 0; round < 60; ++round) {
    // Symbols 0..5 and random merges over them, some of which give a token already there.
    MergeTable merges;
    std::int32_t tokens = 6;
    for (int i = 0; i < 8; ++i) {
      const auto any = [&] { return static_cast<std::int32_t>(random() % static_cast<unsigned>(tokens)); };
      const bool again = round % 4 == 0 && tokens > 8 && random() % 4U == 0;
      const std::int32_t left = any(), right = any();
      if (merges.add(left, right, again ? 6 + any() % (tokens - 6) : tokens) && !again) ++tokens;
    }
    const Ids symbols{0, 1, 2, 3, 4, 5};
    const MergeBoundaries boundaries(merges, symbols, static_cast<std::size_t>(tokens));
    for (int repeat = 0; repeat < 20; ++repeat) {
      Ids whole, cut;
      for (int i = 0; i < 100; ++i) whole.push_back(static_cast<std::int32_t>(random() % 6U));
      std::size_t first = 0;
      for (std::size_t i = 0; i < whole.size(); ++i) {
        if (i > 0 && !boundaries.may_join(whole[i - 1], whole[i])) {
          merges.apply(cut, first);
          first = cut.size();
        }
        cut.push_back(whole[i]);
      }
      merges.apply(cut, first);
      merges.apply(whole);
      BOOST_TEST(cut == whole, boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_implemented_is_refused_by_name) {
  const auto tokens = vocabulary({std::string(word_mark), "a", "b"});
  const auto bad = [&](const std::string& bytes, const std::string& part) {
    refused<DataError>([&] { (void)load(bytes); }, {"tokenizer.model: " + part});
  };
  bad(model(tokens, number(35, 1)), "trainer_spec.model_type: found 1, expected 2 (BPE)");
  bad(model(tokens, number(3, 2)), "trainer_spec.byte_fallback: found false, expected true");
  bad(model(tokens, bpe_trainer + number(24, 1)), "trainer_spec.treat_whitespace_as_suffix: found true");
  bad(model(tokens, bpe_trainer + bytes_field(46, "<bos>")), "trainer_spec.bos_piece: found \"<bos>\"");
  bad(model(tokens, bpe_trainer + bytes_field(47, "<eos>")), "no token <eos> to end a text");
  bad(model(tokens, bpe_trainer, bytes_field(2, "map")), "normalizer_spec.precompiled_charsmap: found 3 bytes");
  bad(model(tokens, bpe_trainer, number(5, 0)), "normalizer_spec.escape_whitespaces: found false");
  bad(model(tokens) + bytes_field(5, bytes_field(2, "map")), "denormalizer_spec.precompiled_charsmap");
  bad(model(tokens) + piece("x", 0, 4), "pieces[262].type: found 4, expected 1 (normal)");
  bad(model(tokens) + piece("x", 0, 5), "pieces[262].type: found 5");
  bad(model(tokens) + piece("x", std::nanf(""), 1), "pieces[262].score: found nan");
  bad(model(tokens) + piece("a", 0, 1), "pieces[262]: found \"a\", which is another token too");
  bad(model(tokens) + piece("", 0, 1), "pieces[262]: found 0 bytes");
  bad(model(tokens) + piece("\xFF", 0, 1), "pieces[262]: found \"\xEF\xBF\xBD\", expected UTF-8");
  bad(model(tokens) + piece("az", 0, 1), "pieces[262]: found \"az\", expected characters that are pieces themselves");
  auto fewer = tokens;
  fewer[3 + 0x41] = "?";
  bad(model(fewer), "pieces: found no byte piece <0x41>, expected all of");
  bad("\n\x7F", "ends after 0 bytes of a field, expected 127");
  bad(model(tokens) + "\x03", "found wire type 3");
  bad(model(tokens) + std::string(12, '\xFF'), "found a number longer than 64 bits");
}

BOOST_AUTO_TEST_CASE(bad_tokenizer_bins_are_refused) {
  const auto tokens = vocabulary({std::string(word_mark), "a"});
  const std::string good = tokenizer_bin(tokens);
  const auto bad = [&](const std::string& bytes, const std::string& part) {
    refused<DataError>([&] { (void)load(bytes, "tokenizer.bin"); }, {"tokenizer.bin: " + part});
  };
  BOOST_TEST(load(good, "tokenizer.bin").size() == tokens.size());
  bad("", "token 0: ends after 0 of 4 bytes");
  bad(good.substr(0, good.size() - 1), "token 260: ends after 0 of 1 bytes");
  bad(good + real_bits(0) + little_endian(65), "token 261: found length 65, expected at most 64");
  bad(good + real_bits(std::nanf("")) + little_endian(1) + "x", "token 261: found score nan");
  bad(good + real_bits(0) + little_endian(1) + "a", "token 261: found \"a\", which is another token too");
  bad(tokenizer_bin({"<unk>", "<s>"}), "token 2: found the end of the file, expected \"</s>\"");
  bad(tokenizer_bin({"a", "<s>"}), "token 0: found \"a\", expected \"<unk>\"");
}

BOOST_AUTO_TEST_CASE(damaged_files_never_crash) {
  const TrainedBpe bpe = learned();
  std::mt19937 random(5);
  for (const auto& [name, good] :
       {std::pair("tokenizer.model", model(bpe.tokens)), std::pair("tokenizer.bin", tokenizer_bin(bpe.tokens))})
    for (int round = 0; round < 500; ++round) {
      std::string bytes = good;
      bytes[random() % bytes.size()] = static_cast<char>(random() % 256U);
      if (round % 3 == 0) bytes.resize(random() % bytes.size());
      try {
        (void)load(bytes, name).encode("12 apples", true);
      } catch (const DataError&) {
      }
    }
}

BOOST_AUTO_TEST_CASE(a_folder_is_read_in_a_fixed_order) {
  const Folder folder;
  const auto size = [&] { return Tokenizer::load(folder.path()).size(); };
  folder.write("tokenizer.bin", tokenizer_bin(vocabulary({"a"})));
  BOOST_TEST(size() == 260U);
  folder.write("tokenizer.model", model(vocabulary({"a", "b"})));
  BOOST_TEST(size() == 261U);
  write_tokenizer(learned(), folder.path(), 64);
  BOOST_TEST(size() == 330U);
}
