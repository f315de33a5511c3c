#pragma once
/// \file
/// tokenizer_config.json, beside any tokenizer file: which token ends an answer, and the habits of the decoder. Keys
/// read: bos_token, eos_token, add_bos_token, add_eos_token, clean_up_tokenization_spaces; the others do not change
/// token ids and are not looked at.
/// Errors  DataError naming file, field, found and expected.
/// Source  github.com/huggingface/transformers, PreTrainedTokenizerBase.

#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/tokenizer_json.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <string>
#include <string_view>
#include <system_error>

namespace linden::detail {

/// A token of the config, written as "</s>" or as {"content": "</s>", ...}; null where there is none.
[[nodiscard]] inline nlohmann::json configured_token(const TokenizerJson& config, const std::string& field) {
  const nlohmann::json& found = config.at(field);
  return found.is_object() ? found.value("content", nlohmann::json()) : found;
}

/// Finishes `model`, read from `file`, whose reader has set `bos`: without tokenizer_config.json or its eos_token,
/// `default_eos` ends a text.
inline void apply_tokenizer_config(TokenizerModel& model, const std::filesystem::path& file,
                                   std::string_view default_eos) {
  const std::filesystem::path path = file.parent_path() / "tokenizer_config.json";
  std::error_code ignored;
  nlohmann::json eos;
  if (std::filesystem::exists(path, ignored)) {
    const TokenizerJson config(path);
    const auto flag = [&](const std::string& key, bool expected) {
      const auto& found = config.at("/" + key);
      config.require(found.is_null() || found == expected, key, found, expected ? "true" : "false");
    };
    flag("add_bos_token", true);
    flag("add_eos_token", false);
    const auto& clean_up = config.at("/clean_up_tokenization_spaces");
    config.require(clean_up.is_null() || clean_up.is_boolean(), "clean_up_tokenization_spaces", clean_up,
                   "true or false");
    model.clean_up_spaces = clean_up == true;
    const auto bos = configured_token(config, "/bos_token");
    config.require(bos.is_null() || bos == model.tokens[model.bos], "bos_token", bos,
                   text("the token ", file.filename().string(), " puts in front of a text"));
    eos = configured_token(config, "/eos_token");
    const bool known = eos.is_string() && model.tokens.contains(eos.get<std::string>());
    config.require(eos.is_null() || known, "eos_token", eos, text("a token of ", file.filename().string()));
  }
  const auto found = model.tokens.find(eos.is_string() ? eos.get<std::string>() : std::string(default_eos));
  if (!found)
    throw DataError(text(file.string(), ": no token ", default_eos, " to end a text, expected eos_token in ",
                         path.filename().string(), " beside it"));
  model.eos = *found;
}

}  // namespace linden::detail
