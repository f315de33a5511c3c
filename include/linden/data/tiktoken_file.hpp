#pragma once
/// \file
/// Reads a tiktoken vocabulary, the `tokenizer.model` of Llama 3: one line per token, base64 of its bytes, a space, its
/// rank. Ranks are ids, from 0 without gaps, in any order of lines; all 256 bytes are tokens. The file has no pattern
/// and no special tokens: both are those of Llama 3.1, the 256 special tokens following the last rank. The ids are
/// those of tokenizer.json of the same model. tokenizer_config.json beside the file is read; without it
/// `<|end_of_text|>` ends a text.
/// Errors  DataError naming file and line, found and expected.
/// Source  github.com/openai/tiktoken (load_tiktoken_bpe); github.com/meta-llama/llama-models (llama3/tokenizer.py) for
///         pattern and special tokens, under the names they have in tokenizer.json.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/byte_level.hpp>
#include <linden/data/tokenizer_config.hpp>
#include <linden/data/tokenizer_merges.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// The pre-tokenization pattern of Llama 3.
inline constexpr const char* llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The special tokens of Llama 3.1, in the order of their ids.
[[nodiscard]] inline std::vector<std::string> llama3_special_tokens() {
  constexpr std::size_t count = 256;
  std::vector<std::string> names{"<|begin_of_text|>", "<|end_of_text|>"};
  std::size_t reserved = 0;
  const auto reserve = [&](std::size_t size) {
    while (names.size() < size) names.push_back(text("<|reserved_special_token_", reserved++, "|>"));
  };
  reserve(4);
  names.emplace_back("<|finetune_right_pad_id|>");
  reserve(6);
  for (const char* name : {"<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"})
    names.emplace_back(name);
  reserve(count);
  return names;
}

namespace detail {

/// The bytes of base64 text with padding, nothing if it is not that.
[[nodiscard]] inline std::optional<std::string> from_base64(std::string_view encoded) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t padding = encoded.ends_with("==") ? 2 : encoded.ends_with('=') ? 1 : 0;
  if (encoded.empty() || encoded.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < encoded.size() - padding; ++i) {
    const std::size_t digit = digits.find(encoded[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6U | static_cast<std::uint32_t>(digit);
    if (i % 4 != 0) bytes += static_cast<char>(bits >> (6 - 2 * (i % 4)) & 0xFFU);
  }
  return bytes;
}

/// One reading of one file.
class TiktokenReader {
 public:
  explicit TiktokenReader(std::filesystem::path path) : path_(std::move(path)) {}

  TokenizerModel read() {
    read_lines();
    add_tokens();
    std::vector<std::int32_t> ranks(model_.tokens.size());
    std::iota(ranks.begin(), ranks.end(), 0);
    add_implied_merges(model_, ranks);
    add_special_tokens();
    model_.scheme = ByteLevelScheme{SplitPattern(llama3_pattern), true};
    apply_tokenizer_config(model_, path_, "<|end_of_text|>");
    return std::move(model_);
  }

 private:
  [[nodiscard]] std::string where(std::size_t line) const { return text(path_.string(), ": line ", line); }

  void read_lines() {
    const std::string bytes = read_bytes(path_);
    std::string_view rest = bytes;
    for (std::size_t line = 1; !rest.empty(); ++line) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      read_line(rest.substr(0, end), line);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  void read_line(std::string_view line, std::size_t number) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) return;
    const std::size_t space = std::min(line.find(' '), line.size() - 1);
    const auto token = from_base64(line.substr(0, space));
    const std::string_view digits = line.substr(space + 1);
    std::int32_t rank = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (!token || error != std::errc() || end != digits.data() + digits.size() || rank < 0)
      throw DataError(text(where(number), ": found ", shown(line), ", expected base64, a space and a rank"));
    lines_.push_back({rank, number, byte_level_text(*token)});
  }

  void add_tokens() {
    std::ranges::sort(lines_, {}, &Line::rank);
    for (Line& line : lines_) {
      if (static_cast<std::size_t>(line.rank) != model_.tokens.size())
        throw DataError(text(where(line.number), ": found rank ", line.rank, ", expected each rank of 0..",
                             lines_.size() - 1, " once"));
      add_checked_token(model_, std::move(line.token), [&] { return where(line.number); });
    }
    for (unsigned byte = 0; byte < 256; ++byte)
      if (!model_.tokens.contains(byte_level_text(std::string(1, static_cast<char>(byte)))))
        throw DataError(text(path_.string(), ": no token for byte ", byte, ", expected all 256"));
  }

  void add_special_tokens() {
    for (const std::string& name : llama3_special_tokens()) {
      model_.added.push_back({name, static_cast<std::int32_t>(model_.tokens.size()), true});
      add_checked_token(model_, name, [&] { return text(path_.string(), ": special token ", name); });
    }
    model_.bos = model_.tokens.find("<|begin_of_text|>").value();
  }

  struct Line {
    std::int32_t rank;
    std::size_t number;
    std::string token;  // in the byte-level alphabet
  };

  std::filesystem::path path_;
  std::vector<Line> lines_;
  TokenizerModel model_;
};

}  // namespace detail

/// Reads and checks a tiktoken file.
[[nodiscard]] inline TokenizerModel read_tiktoken_file(const std::filesystem::path& path) {
  return detail::TiktokenReader(path).read();
}

}  // namespace linden
