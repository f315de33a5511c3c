#pragma once
/// \file
/// Writes a Llama as a Hugging Face model directory: model.safetensors, config.json, generation_config.json. The files
/// of its tokenizer are written apart (data/bpe_trainer.hpp).
/// Shapes  as in every checkpoint: projections [out, in], tables [vocabulary, hidden], norms [hidden].
/// Errors  UsageError for special tokens outside the vocabulary; DataError for what cannot be written. Each file is
///         written whole or not at all, config.json last: an unfinished new directory is refused by load.
/// Source  transformers, save_pretrained.

#include <cstdint>
#include <filesystem>
#include <linden/io/json_file.hpp>
#include <linden/io/safetensors.hpp>
#include <linden/model/checkpoint.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace linden {

/// Ids of the tokens that begin every text and end every answer.
struct SpecialTokens {
  int bos = 1;  ///< begins every text
  int eos = 2;  ///< ends every answer
};

namespace detail {

/// The weights as safetensors entries that point into the model's memory.
template <LlamaConfiguration C, Real T>
std::vector<StoredTensor> stored_weights(const Llama<C, T>& model) {
  std::vector<StoredTensor> tensors;
  LlamaWeights<C, T> views = model.weights();
  views.for_each([&]<class View>(const std::string& name, View view) {
    tensors.push_back(stored_tensor<T>(name, stored_shape<typename View::shape>(), view.span()));
  });
  return tensors;
}

inline void check_special_token(const char* name, int id, long vocabulary) {
  if (id < 0 || id >= vocabulary)
    throw UsageError(text("linden::save_llama: ", name, " is ", id, ", expected an id from 0 to ", vocabulary - 1));
}

}  // namespace detail

/// Writes `model` into `directory`, which is made if missing. load_llama reads it back bit for bit.
template <LlamaConfiguration C, Real T>
void save_llama(const Llama<C, T>& model, const std::filesystem::path& directory, SpecialTokens special = {}) {
  detail::check_special_token("bos", special.bos, C::vocabulary);
  detail::check_special_token("eos", special.eos, C::vocabulary);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw DataError(text(directory.string(), ": cannot be made: ", error.message()));
  write_safetensors(directory / "model.safetensors", detail::stored_weights(model), {{"format", "pt"}});
  write_json(directory / "generation_config.json", {{"bos_token_id", special.bos}, {"eos_token_id", special.eos}});
  HfConfig config = hf_config<C>();
  config.bos_token_id = special.bos;
  config.eos_token_ids = {special.eos};
  write_hf_config(directory / "config.json", config);
}

}  // namespace linden
