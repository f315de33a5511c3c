#pragma once
/// \file
/// The merges of a vocabulary that comes with ranks or scores instead of a list of merges (tiktoken, SentencePiece,
/// llama2.c): two tokens join whenever their concatenation is a token, and the rank is that of the result.
/// Errors  DataError from checks of single tokens; messages begin with the file and the place in it.
/// Source  github.com/openai/tiktoken (byte_pair_merge); github.com/google/sentencepiece (bpe_model).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <linden/core/error.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <linden/data/utf8.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace linden::detail {

/// In `ranks`: the token is neither a part nor the result of a merge.
inline constexpr std::int32_t no_rank = -1;

/// Longest token, in bytes, whose splits are looked for: the work grows with the square. Real ones stay below 200.
inline constexpr std::size_t max_token_bytes = 4096;

/// `token` as it can be printed: at most 40 bytes, whatever they are.
[[nodiscard]] inline std::string shown(std::string_view token) {
  return '"' + to_valid_utf8(token.substr(0, 40)) + (token.size() > 40 ? "...\"" : "\"");
}

/// Appends a token, and refuses an empty, an overlong and a repeated one; `where()` says where it was read.
template <class Where>
void add_checked_token(TokenizerModel& model, std::string token, Where where) {
  const auto fail = [&](const auto&... found) { throw DataError(text(where(), ": found ", found...)); };
  if (token.empty() || token.size() > max_token_bytes) fail(token.size(), " bytes, expected 1 to ", max_token_bytes);
  if (!is_utf8(token)) fail(shown(token), ", expected UTF-8");
  if (!model.tokens.add(token)) fail(shown(token), ", which is another token too");
}

/// Adds every merge of tokens that have ranks. `ranks` [id].
inline void add_implied_merges(TokenizerModel& model, std::span<const std::int32_t> ranks) {
  const auto ranked_id = [&](std::string_view token) {
    const auto found = model.tokens.find(token);
    return found && ranks[static_cast<std::size_t>(*found)] != no_rank ? *found : no_rank;
  };
  for (std::size_t id = 0; id < ranks.size(); ++id) {
    if (ranks[id] == no_rank) continue;
    const std::string_view token = model.tokens[static_cast<std::int32_t>(id)];
    for (std::size_t cut = utf8_step(token, 0).bytes; cut < token.size(); cut += utf8_step(token, cut).bytes) {
      const std::int32_t left = ranked_id(token.substr(0, cut));
      if (left == no_rank) continue;
      const std::int32_t right = ranked_id(token.substr(cut));
      if (right != no_rank) model.merges.add(left, right, static_cast<std::int32_t>(id), ranks[id]);
    }
  }
}

/// Ranks of scores: the highest is 0, equal scores share one. \return [id], no_rank where `takes_part` is false.
[[nodiscard]] inline std::vector<std::int32_t> ranks_of_scores(std::span<const float> scores,
                                                               const std::vector<bool>& takes_part) {
  std::vector<float> order(scores.begin(), scores.end());
  std::ranges::sort(order, std::ranges::greater());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  std::vector<std::int32_t> ranks(scores.size(), no_rank);
  for (std::size_t id = 0; id < scores.size(); ++id)
    if (takes_part[id])
      ranks[id] = static_cast<std::int32_t>(std::ranges::lower_bound(order, scores[id], std::ranges::greater()) -
                                            order.begin());
  return ranks;
}

}  // namespace linden::detail
