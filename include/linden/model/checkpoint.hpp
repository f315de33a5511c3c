#pragma once
/// \file
/// A Llama from a Hugging Face model directory. (Writing one: model/save_llama.hpp.)
/// Errors  DataError when a checkpoint is not of this configuration, naming every field that differs.

#include <filesystem>
#include <linden/io/hf_config.hpp>
#include <linden/io/hf_weights.hpp>
#include <linden/model/llama.hpp>

namespace linden {

/// config.json of a configuration.
template <LlamaConfiguration C>
[[nodiscard]] HfConfig hf_config() {
  HfConfig c;
  c.hidden_size = C::hidden;
  c.intermediate_size = C::intermediate;
  c.num_hidden_layers = C::layers;
  c.num_attention_heads = C::heads;
  c.num_key_value_heads = C::kv_heads;
  c.head_dim = C::head_size;
  c.vocab_size = C::vocabulary;
  c.max_position_embeddings = C::positions;
  c.rms_norm_eps = C::epsilon;
  c.rope_theta = C::theta;
  c.tie_word_embeddings = C::tied;
  if (C::scaling.factor != 1)
    c.rope_scaling = RopeScaling{C::scaling.factor, C::scaling.low_frequency_factor, C::scaling.high_frequency_factor,
                                 C::scaling.original_positions};
  return c;
}

/// Refuses a config.json of another model, naming each field that differs with both values.
template <LlamaConfiguration C>
void check_config(const HfConfig& found, const std::filesystem::path& where) {
  const HfConfig expected = hf_config<C>();
  std::string differences;
  const auto compare = [&differences](const char* field, auto f, auto e) {
    if (f != e) differences += text(differences.empty() ? "" : "; ", field, " is ", f, ", expected ", e);
  };
  compare("hidden_size", found.hidden_size, expected.hidden_size);
  compare("intermediate_size", found.intermediate_size, expected.intermediate_size);
  compare("num_hidden_layers", found.num_hidden_layers, expected.num_hidden_layers);
  compare("num_attention_heads", found.num_attention_heads, expected.num_attention_heads);
  compare("num_key_value_heads", found.num_key_value_heads, expected.num_key_value_heads);
  compare("head_dim", found.head_dim, expected.head_dim);
  compare("vocab_size", found.vocab_size, expected.vocab_size);
  compare("rms_norm_eps", found.rms_norm_eps, expected.rms_norm_eps);
  compare("rope_theta", found.rope_theta, expected.rope_theta);
  compare("tie_word_embeddings", found.tie_word_embeddings, expected.tie_word_embeddings);
  const auto factor = [](const HfConfig& c) { return c.rope_scaling ? c.rope_scaling->factor : 1.0; };
  compare("rope_scaling.factor", factor(found), factor(expected));
  if (found.rope_scaling && expected.rope_scaling && !(*found.rope_scaling == *expected.rope_scaling))
    differences += text(differences.empty() ? "" : "; ", "rope_scaling differs");
  if (!differences.empty())
    throw DataError(text((where / "config.json").string(), ": not the compiled configuration ", C::name, ": ", differences));
}

/// The weights of a Hugging Face model directory.
template <LlamaConfiguration C, Real T>
[[nodiscard]] Llama<C, T> load_llama(const std::filesystem::path& directory) {
  check_config<C>(read_hf_config(directory), directory);
  const HfWeights file(directory);
  Llama<C, T> model;
  model.weights().for_each([&](const std::string& name, auto view) {
    std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(view.columns())};
    if (decltype(view)::shape::axes == 2) shape.insert(shape.begin(), static_cast<std::uint64_t>(view.rows()));
    file.read(name, shape, view.span());
  });
  return model;
}

}  // namespace linden
