#pragma once
/// \file
/// What the tests of linden/data share: a folder for files, a small tokenizer to write into it, a check of messages.

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>
#include <linden/data/bpe_trainer.hpp>
#include <linden/data/byte_level.hpp>
#include <linden/data/tiktoken_file.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace linden::test {

/// A new folder that is removed, with what is in it, at the end of the scope.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / text("linden_data_", std::random_device{}(), "_", ++made)) {
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Writes a file of the folder. \return its path.
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  static inline std::atomic<int> made = 0;
  std::filesystem::path path_;
};

/// Text enough for a vocabulary of 300 tokens.
inline std::vector<std::string> small_corpus() {
  return {"Question: Tom has 12 apples. How many apples does Tom have?\nAnswer: ", "12 + 5 = 17\n#### 17",
          "Question: Ann has 30 apples. How many does Ann have?\nAnswer: ", "30 - 4 = 26\n#### 26",
          "caf\xC3\xA9 12 12 12"};
}

/// A folder with the tokenizer of that corpus.
class SmallTokenizer : public Folder {
 public:
  SmallTokenizer() { write_tokenizer(train_bpe(small_corpus(), {.vocabulary = 320}), path(), 64); }
};

/// A byte-level vocabulary by rank: all bytes, then pieces of small_corpus() and of contractions, as bytes.
inline std::vector<std::string> small_byte_level_tokens() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>((byte + 33) % 256));
  for (const char* piece : {" t",    "he", "in",       " a",       "12",           "an",   "'s",  "ll",     "'ll",
                            "\n\n",  "  ", "   ",      "ap",       "pl",           "appl", "es",  "apples", " apples",
                            " appl", "er", "\xC3\xA9", "\xF0\x9F", "\xF0\x9F\x98", "aa",   "aaa", "!!"})
    tokens.emplace_back(piece);
  return tokens;
}

/// The tokenizer.json of such a vocabulary, laid out as Llama 3's; every merge the tokens allow, in its order.
inline nlohmann::json byte_level_json(const std::vector<std::string>& tokens, bool ignore_merges = true) {
  using Json = nlohmann::json;
  std::map<std::string, std::size_t> ranks;
  for (const std::string& token : tokens) ranks.emplace(token, ranks.size());
  Json vocabulary = Json::object(), merges = Json::array(), added = Json::array();
  for (const auto& [token, rank] : ranks) vocabulary[byte_level_text(token)] = rank;
  for (const std::string& token : tokens) {
    std::map<std::pair<std::size_t, std::size_t>, Json> splits;
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const std::string left = token.substr(0, cut), right = token.substr(cut);
      if (ranks.contains(left) && ranks.contains(right))
        splits[{ranks[left], ranks[right]}] = {byte_level_text(left), byte_level_text(right)};
    }
    for (const auto& [order, pair] : splits) merges.push_back(pair);
  }
  for (const std::string& name : llama3_special_tokens())
    added.push_back(
        {{"id", tokens.size() + added.size()}, {"content", name}, {"special", true}, {"normalized", false}});
  Json json = Json::parse(R"({"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "post_processor": {"type": "Sequence", "processors": [
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "special_tokens": {"<|begin_of_text|>":
         {"id": "<|begin_of_text|>", "ids": [], "tokens": ["<|begin_of_text|>"]}}}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false}})");
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = llama3_pattern;
  json["post_processor"]["processors"][1]["special_tokens"]["<|begin_of_text|>"]["ids"] = {tokens.size()};
  json["added_tokens"] = added;
  json["model"]["ignore_merges"] = ignore_merges;
  json["model"]["vocab"] = vocabulary;
  json["model"]["merges"] = merges;
  return json;
}

/// A string of `length` bytes, most of them in pieces of some vocabulary, some of them no UTF-8.
inline std::string hostile_text(std::mt19937& random, std::size_t length) {
  const std::vector<std::string> parts{"apples",     " ",     "  ",       "\n",
                                       "it's",       "12345", "\xC3\xA9", "\xF0\x9F\x98\x80",
                                       "\xFF",       "\xC3",  "\xE2\x82", std::string(1, '\0'),
                                       "<|eot_id|>", "</s>",  "aaaa",     "!"};
  std::string text;
  while (text.size() < length) {
    if (random() % 4U == 0)
      text += static_cast<char>(random() % 256U);
    else
      text += parts[random() % parts.size()];
  }
  return text;
}

/// Passes when `action` throws `Refusal` and its message contains every one of `parts`.
template <class Refusal, class Action>
void refused(Action action, const std::vector<std::string>& parts) {
  try {
    action();
    BOOST_ERROR("nothing was refused, expected: " << parts.front());
  } catch (const Refusal& error) {
    const std::string message = error.what();
    for (const std::string& part : parts)
      BOOST_TEST(message.find(part) != std::string::npos, "\"" << part << "\" is not in: " << message);
  }
}

}  // namespace linden::test
