#pragma once
/// \file
/// The tokenizer of the model that an engine runs.

#include <linden/data/tokenizer.hpp>

#include "support/engine.hpp"

namespace linden::examples {

/// The model's tokenizer. \throw DataError for one with more tokens than the model has.
[[nodiscard]] inline Tokenizer load_tokenizer(const EngineOptions& options, const Engine& engine) {
  Tokenizer tokenizer = Tokenizer::load(options.model);
  if (tokenizer.size() > static_cast<std::size_t>(engine.vocabulary()))
    throw DataError(text(options.model.string(), ": the tokenizer has ", tokenizer.size(), " tokens, expected at most ",
                         engine.vocabulary(), " (vocab_size of config.json)"));
  return tokenizer;
}

}  // namespace linden::examples
