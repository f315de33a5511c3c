#pragma once
/// \file
/// The `config.json` of a Hugging Face Llama model: what shapes its tensors and its arithmetic.
/// Accepts the layouts of transformers 4 (`rope_theta` beside `rope_scaling`) and 5 (both in `rope_parameters`).
/// Fields that change nothing here are ignored; a value this library does not compute (another activation, biases,
/// another rotary scaling) is refused rather than ignored.
/// Units   sizes in elements or tokens, rope_theta dimensionless (radians = position * theta^(-2i/d)).
/// Errors  DataError naming the file, the field, found and expected.
/// Source  github.com/huggingface/transformers, LlamaConfig and its rotary embedding utilities.

#include <filesystem>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace linden {

/// The "llama3" rescaling of rotary frequencies for long contexts.
struct RopeScaling {
  double factor = 8;                             ///< low frequencies are divided by this, at least 1
  double low_freq_factor = 1;                    ///< wavelengths above original / low are divided
  double high_freq_factor = 4;                   ///< wavelengths below original / high are kept; above low_freq_factor
  long original_max_position_embeddings = 8192;  ///< positions the model was first trained for

  bool operator==(const RopeScaling&) const = default;
};

/// A Llama model's sizes and constants. The default values are those of an absent field where one may be absent.
struct HfConfig {
  long hidden_size = 0;                     ///< columns of hidden states
  long intermediate_size = 0;               ///< columns inside the feed-forward network
  long num_hidden_layers = 0;               ///< blocks
  long num_attention_heads = 0;             ///< of queries
  long num_key_value_heads = 0;             ///< absent: num_attention_heads, which it divides
  long head_dim = 0;                        ///< absent: hidden_size / num_attention_heads; even
  long vocab_size = 0;                      ///< tokens it knows
  long max_position_embeddings = 0;         ///< positions it was made for
  double rms_norm_eps = 1e-6;               ///< added to the mean of squares
  double rope_theta = 10000;                ///< base of the rotary frequencies
  std::optional<RopeScaling> rope_scaling;  ///< nothing: rotary embedding as it is
  bool tie_word_embeddings = false;         ///< the head is the embedding
  std::optional<int> bos_token_id;          ///< the token that begins a text
  std::vector<int> eos_token_ids;           ///< of config.json; generation may stop at others, see read_eos_ids

  bool operator==(const HfConfig&) const = default;
};

namespace detail {

/// `eos_token_id`: an id, a list of ids, or nothing.
[[nodiscard]] inline std::vector<int> eos_token_ids(const JsonObject& config) {
  const auto* field = config.find("eos_token_id");
  if (field == nullptr) return {};
  const auto list = field->is_array() ? *field : nlohmann::json::array({*field});
  for (const auto& id : list)
    if (!JsonObject::is_integer_in(&id, 0, std::numeric_limits<int>::max()))
      config.fail("eos_token_id", "a token id or a list of token ids");
  return list.get<std::vector<int>>();
}

/// The scaling described by `rope` (a rope_scaling or rope_parameters object), or nothing for plain rotary embedding.
[[nodiscard]] inline std::optional<RopeScaling> rope_scaling(const JsonObject& rope) {
  const std::string key = rope.has("type") && !rope.has("rope_type") ? "type" : "rope_type";  // "type" in older files
  if (!rope.has(key) && !rope.has("factor")) return std::nullopt;
  const auto type = rope.string(key);
  if (type == "default") return std::nullopt;
  if (type != "llama3") rope.fail(key, "\"llama3\" or \"default\"");
  RopeScaling scaling;
  scaling.factor = rope.number("factor");
  if (scaling.factor < 1) rope.fail("factor", "a number of at least 1");
  scaling.low_freq_factor = rope.positive_number("low_freq_factor");
  scaling.high_freq_factor = rope.number("high_freq_factor");
  if (scaling.high_freq_factor <= scaling.low_freq_factor)
    rope.fail("high_freq_factor", text("a number above low_freq_factor (", scaling.low_freq_factor, ")"));
  scaling.original_max_position_embeddings = rope.integer("original_max_position_embeddings");
  return scaling;
}

/// theta and scaling, from wherever the file keeps them; places that disagree are refused.
inline void read_rope(const JsonObject& fields, HfConfig& config) {
  if (fields.has("rope_theta")) config.rope_theta = fields.positive_number("rope_theta");
  if (fields.has("rope_scaling")) config.rope_scaling = rope_scaling(fields.object("rope_scaling"));
  if (!fields.has("rope_parameters")) return;
  const auto rope = fields.object("rope_parameters");
  const auto scaling = rope_scaling(rope);
  if (fields.has("rope_scaling") && scaling != config.rope_scaling)
    fields.fail("rope_parameters", "the same scaling as in rope_scaling");
  config.rope_scaling = scaling;
  if (!rope.has("rope_theta")) return;
  const double theta = rope.positive_number("rope_theta");
  if (fields.has("rope_theta") && theta != config.rope_theta)
    rope.fail("rope_theta", text("the top-level rope_theta (", config.rope_theta, ")"));
  config.rope_theta = theta;
}

/// Refuses models that are not the Llama this library computes.
inline void check_kind(const JsonObject& fields) {
  if (!fields.has("model_type") || fields.string("model_type") != "llama") fields.fail("model_type", "\"llama\"");
  if (fields.has("hidden_act") && fields.string("hidden_act") != "silu") fields.fail("hidden_act", "\"silu\"");
  for (const auto* bias : {"attention_bias", "mlp_bias"})
    if (fields.flag(bias)) fields.fail(bias, "false");
}

inline void read_heads(const JsonObject& fields, HfConfig& config) {
  const long heads = config.num_attention_heads = fields.integer("num_attention_heads");
  config.num_key_value_heads = fields.has("num_key_value_heads") ? fields.integer("num_key_value_heads") : heads;
  if (heads % config.num_key_value_heads != 0)
    fields.fail("num_key_value_heads", text("a divisor of num_attention_heads (", heads, ")"));
  if (!fields.has("head_dim") && config.hidden_size % heads != 0)
    fields.fail("hidden_size", text("a multiple of num_attention_heads (", heads, "), as head_dim is absent"));
  config.head_dim = fields.has("head_dim") ? fields.integer("head_dim") : config.hidden_size / heads;
  if (config.head_dim % 2 != 0)
    fields.fail("head_dim", text("an even number, for rotary pairs (it is ", config.head_dim, ")"));
}

[[nodiscard]] inline HfConfig parse_hf_config(const nlohmann::json& json, const std::string& where) {
  const JsonObject fields(json, where);
  check_kind(fields);
  HfConfig config;
  config.hidden_size = fields.integer("hidden_size");
  config.intermediate_size = fields.integer("intermediate_size");
  config.num_hidden_layers = fields.integer("num_hidden_layers");
  config.vocab_size = fields.integer("vocab_size");
  config.max_position_embeddings = fields.integer("max_position_embeddings");
  read_heads(fields, config);
  if (fields.has("rms_norm_eps")) config.rms_norm_eps = fields.positive_number("rms_norm_eps");
  read_rope(fields, config);
  config.tie_word_embeddings = fields.flag("tie_word_embeddings");
  if (fields.has("bos_token_id")) config.bos_token_id = static_cast<int>(fields.integer("bos_token_id", 0));
  config.eos_token_ids = eos_token_ids(fields);
  return config;
}

[[nodiscard]] inline nlohmann::json rope_scaling_json(const std::optional<RopeScaling>& scaling) {
  if (!scaling) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", scaling->factor},
          {"low_freq_factor", scaling->low_freq_factor},
          {"high_freq_factor", scaling->high_freq_factor},
          {"original_max_position_embeddings", scaling->original_max_position_embeddings}};
}

/// One id as a number, several as a list, none as null.
[[nodiscard]] inline nlohmann::json eos_json(const std::vector<int>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids[0];
  return ids;
}

[[nodiscard]] inline nlohmann::json hf_config_json(const HfConfig& config) {
  nlohmann::json json{{"architectures", {"LlamaForCausalLM"}},
                      {"model_type", "llama"},
                      {"hidden_act", "silu"},
                      {"attention_bias", false},
                      {"mlp_bias", false},
                      {"attention_dropout", 0.0},
                      {"initializer_range", 0.02},
                      {"pretraining_tp", 1},
                      {"use_cache", true}};
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["head_dim"] = config.head_dim;
  json["vocab_size"] = config.vocab_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["rope_theta"] = config.rope_theta;
  json["rope_scaling"] = rope_scaling_json(config.rope_scaling);
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["bos_token_id"] = config.bos_token_id ? nlohmann::json(*config.bos_token_id) : nlohmann::json();
  json["eos_token_id"] = eos_json(config.eos_token_ids);
  return json;
}

}  // namespace detail

/// The configuration in `path`, a config.json or the directory that holds one.
[[nodiscard]] inline HfConfig read_hf_config(const std::filesystem::path& path) {
  std::error_code ignored;  // a path that cannot be looked at is told by opening it
  const auto file = std::filesystem::is_directory(path, ignored) ? path / "config.json" : path;
  return detail::parse_hf_config(read_json(file), file.string());
}

/// Writes `config` as a LlamaForCausalLM config.json, all or nothing; refuses values that read_hf_config would refuse.
inline void write_hf_config(const std::filesystem::path& file, const HfConfig& config) {
  const auto json = detail::hf_config_json(config);
  (void)detail::parse_hf_config(json, file.string());
  write_json(file, json);
}

/// Ids at which generation stops: those of generation_config.json in `directory` where it gives any, else
/// config.json's. No other field is looked at. Empty when neither file names one.
[[nodiscard]] inline std::vector<int> read_eos_ids(const std::filesystem::path& directory) {
  const auto generation = directory / "generation_config.json";
  if (file_exists(generation)) {
    const auto json = read_json(generation);
    const auto ids = detail::eos_token_ids(JsonObject(json, generation.string()));
    if (!ids.empty()) return ids;
  }
  const auto config = directory / "config.json";
  const auto json = read_json(config);
  return detail::eos_token_ids(JsonObject(json, config.string()));
}

}  // namespace linden
