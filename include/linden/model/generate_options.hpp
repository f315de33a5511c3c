#pragma once
/// \file
/// What generation is asked for.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace linden {

/// How texts are continued.
struct GenerateOptions {
  std::size_t max_tokens = 256;                                         ///< new tokens per prompt, at most
  std::vector<std::int32_t> stop{};                                     ///< generation ends before one of these ids
  double temperature = 0;                                               ///< 0: the highest logit, lowest id on ties
  std::uint64_t seed = 42;                                              ///< of sampling; every prompt has draws of its own
  std::size_t cache_bytes = std::size_t{2} << 30U;                      ///< bytes of the key-value cache, at most
  std::size_t chunk = 1024;                                             ///< tokens in one pass, at most, while prompts are read
  std::function<bool(std::size_t prompt, std::int32_t id)> on_token{};  ///< sees every new token; false ends that prompt
  std::function<void(std::size_t prompt, const std::vector<std::int32_t>& ids)> on_end{};  ///< a prompt's text is complete
  std::function<void()> on_pass{};                                      ///< after every pass: it goes on
};

/// A prompt, and the rank at which the adapter is read for it; 0: base model alone.
struct Prompt {
  std::vector<std::int32_t> ids;  ///< its tokens, one or more
  int rank = 0;                   ///< from 0 to the adapter's full rank
};

}  // namespace linden
