#define BOOST_TEST_MODULE tiktoken
#include <boost/test/unit_test.hpp>
#include <linden/data/tiktoken_file.hpp>
#include <linden/data/tokenizer.hpp>
#include <random>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::byte_level_json;
using linden::test::Folder;
using linden::test::refused;
using linden::test::small_byte_level_tokens;

namespace {

std::string to_base64(const std::string& bytes) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](std::size_t i) {
      return at + i < bytes.size() ? static_cast<unsigned>(static_cast<unsigned char>(bytes[at + i])) : 0U;
    };
    const unsigned bits = byte(0) << 16U | byte(1) << 8U | byte(2);
    for (unsigned i = 0; i < 4; ++i) out += at + i > bytes.size() ? '=' : digits[bits >> (18 - 6 * i) & 63U];
  }
  return out;
}

std::string tiktoken_lines(const std::vector<std::string>& tokens) {
  std::string lines;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) lines += text(to_base64(tokens[rank]), " ", rank, "\n");
  return lines;
}

}  // namespace

BOOST_AUTO_TEST_CASE(base64_is_read_strictly) {
  std::string bytes;
  for (int byte = 255; byte >= 0; --byte) bytes += static_cast<char>(byte);
  for (std::size_t size : {1UL, 2UL, 3UL, 4UL, 255UL, 256UL})
    BOOST_TEST(detail::from_base64(to_base64(bytes.substr(0, size))).value() == bytes.substr(0, size));
  BOOST_TEST(detail::from_base64("IQ==").value() == "!");
  for (const char* bad : {"", "I", "IQ", "IQ=", "I===", "====", "IQ==IQ==", "I Q=", "IQ=A", "I\xC3\xA9="})
    BOOST_TEST(!detail::from_base64(bad).has_value(), bad);
}

BOOST_AUTO_TEST_CASE(special_tokens_are_those_of_llama_3_1) {
  const auto names = llama3_special_tokens();
  BOOST_TEST(names.size() == 256U);
  BOOST_TEST(names[2] == "<|reserved_special_token_0|>");
  BOOST_TEST(names[4] == "<|finetune_right_pad_id|>");
  BOOST_TEST(names[5] == "<|reserved_special_token_2|>");
  BOOST_TEST(names[8] == "<|eom_id|>");
  BOOST_TEST(names[10] == "<|python_tag|>");
  BOOST_TEST(names[11] == "<|reserved_special_token_3|>");
  BOOST_TEST(names[255] == "<|reserved_special_token_247|>");
}

BOOST_AUTO_TEST_CASE(agrees_with_tokenizer_json) {
  const auto tokens = small_byte_level_tokens();
  const Folder json_folder, folder;
  json_folder.write("tokenizer.json", byte_level_json(tokens).dump());
  folder.write("tokenizer.model", tiktoken_lines(tokens));
  const auto json = Tokenizer::load(json_folder.path()), tiktoken = Tokenizer::load(folder.path());
  BOOST_TEST(tiktoken.size() == json.size());
  BOOST_TEST(tiktoken.bos() == json.bos());
  BOOST_TEST(tiktoken.eos() == tiktoken.id_of("<|end_of_text|>").value());
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(json.size()); ++id)
    BOOST_TEST(tiktoken.token(id) == json.token(id));
  std::mt19937 random(23);
  for (int round = 0; round < 500; ++round) {
    const std::string text = test::hostile_text(random, random() % 150U);
    const auto ids = json.encode(text, true);
    BOOST_TEST(tiktoken.encode(text, true) == ids, boost::test_tools::per_element());
    BOOST_TEST(tiktoken.decode(ids) == json.decode(ids));
  }
}

BOOST_AUTO_TEST_CASE(the_order_of_lines_and_their_ends_do_not_matter) {
  auto tokens = small_byte_level_tokens();
  std::string lines, reversed;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    lines += text(to_base64(tokens[rank]), " ", rank, "\r\n");
    reversed.insert(0, text(to_base64(tokens[rank]), " ", rank, "\n"));
  }
  const Folder folder;
  const auto a = Tokenizer::load(folder.write("a.model", lines)),
             b = Tokenizer::load(folder.write("b.model", reversed));
  BOOST_TEST(a.encode("12 apples", false) == b.encode("12 apples", false));
}

BOOST_AUTO_TEST_CASE(the_configuration_names_the_end) {
  const Folder folder;
  folder.write("tokenizer.model", tiktoken_lines(small_byte_level_tokens()));
  folder.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": true})");
  const auto tokenizer = Tokenizer::load(folder.path());
  BOOST_TEST(tokenizer.eos() == tokenizer.id_of("<|eot_id|>").value());
  BOOST_TEST(tokenizer.cleans_up_spaces());
}

BOOST_AUTO_TEST_CASE(bad_files_are_refused) {
  const Folder folder;
  const std::string good = tiktoken_lines(small_byte_level_tokens());
  const auto bad = [&](const std::string& content, const std::string& part) {
    refused<DataError>([&] { (void)Tokenizer::load(folder.write("tokenizer.model", content)); },
                       {"tokenizer.model: " + part});
  };
  const std::size_t count = small_byte_level_tokens().size();
  bad("", "no token for byte 0, expected all 256");
  bad("IQ==\n", "line 1: found \"IQ==\", expected base64, a space and a rank");
  bad("IQ== x\n", "line 1: found \"IQ== x\"");
  bad("IQ== 1x\n", "line 1: found \"IQ== 1x\"");
  bad("IQ== -1\n", "line 1: found \"IQ== -1\"");
  bad("IQ== 99999999999\n", "line 1: found \"IQ== 99999999999\"");
  bad("!Q== 0\n", "line 1: found \"!Q== 0\"");
  bad(" 0\n", "line 1: found \" 0\"");
  bad("\xFF\xFE 0\n", "line 1: found \"\xEF\xBF\xBD\xEF\xBF\xBD 0\"");
  bad("IQ== 0\nIg== 0\n", "line 2: found rank 0, expected each rank of 0..1 once");
  bad("IQ== 0\nIg== 2\n", "line 2: found rank 2, expected each rank of 0..1 once");
  bad("IQ== 0\nIQ== 1\n", "line 2: found \"!\", which is another token too");
  bad("IQ== 0\nIg== 1\n", "no token for byte 0");
  bad(good + text(to_base64("<|eot_id|>"), " ", count, "\n"), "special token <|eot_id|>: found \"<|eot_id|>\"");
  bad(good + text(to_base64(std::string(5000, 'a')), " ", count, "\n"), text("line ", count + 1, ": found 5000 bytes"));
}

BOOST_AUTO_TEST_CASE(damaged_files_never_crash) {
  const Folder folder;
  const std::string good = tiktoken_lines(small_byte_level_tokens());
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = good;
    bytes[random() % bytes.size()] = static_cast<char>(random() % 256U);
    if (round % 3 == 0) bytes.resize(random() % bytes.size());
    try {
      (void)Tokenizer::load(folder.write("tokenizer.model", bytes)).encode("12 apples", true);
    } catch (const DataError&) {
    }
  }
}
