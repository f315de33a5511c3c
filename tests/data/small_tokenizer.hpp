#pragma once
/// \file
/// What the tests of linden/data share: a folder for files, a small tokenizer to write into it, a check of messages.

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <linden/core/error.hpp>
#include <linden/data/bpe_trainer.hpp>
#include <random>
#include <string>
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
