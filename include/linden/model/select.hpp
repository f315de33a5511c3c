#pragma once
/// \file
/// From a model directory to the compiled configuration whose numbers its config.json has.
/// Errors  DataError when none matches: what differs from each, and the struct to add, as C++.

#include <array>
#include <charconv>
#include <filesystem>
#include <linden/model/checkpoint.hpp>
#include <string>
#include <utility>

namespace linden {

/// A list of configurations.
template <LlamaConfiguration... C>
struct Configurations {};

namespace detail {

/// Shortest digits that read back as `value`; a valid C++ number.
[[nodiscard]] inline std::string cpp_number(double value) {
  std::array<char, 32> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), written.ptr};
}

/// "" where config.json is that of C, else what differs.
template <LlamaConfiguration C>
[[nodiscard]] std::string differences(const HfConfig& config) {
  try {
    check_config<C>(config, {});
  } catch (const DataError& error) {
    const std::string message = error.what();
    return message.substr(message.find(": ") + 2);  // without the file, which the caller names once
  }
  return "";
}

}  // namespace detail

/// The configuration struct of a config.json, as C++ for model/llama_config.hpp; `name` is what messages call the
/// model.
[[nodiscard]] inline std::string configuration_code(const HfConfig& config, std::string name) {
  using detail::cpp_number;
  for (char& c : name)
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' ') c = '_';
  const std::string member = "  static constexpr ";
  const auto scaling = config.rope_scaling ? text(cpp_number(config.rope_scaling->factor), ", ",
                                                  cpp_number(config.rope_scaling->low_freq_factor), ", ",
                                                  cpp_number(config.rope_scaling->high_freq_factor), ", ",
                                                  config.rope_scaling->original_max_position_embeddings)
                                           : std::string();
  return text("struct MyLlama {\n", member, "const char* name = \"", name, "\";\n", member,
              "long hidden = ", config.hidden_size, ", intermediate = ", config.intermediate_size,
              ", layers = ", config.num_hidden_layers, ";\n", member, "long heads = ", config.num_attention_heads,
              ", kv_heads = ", config.num_key_value_heads, ", head_size = ", config.head_dim, ";\n", member,
              "long vocabulary = ", config.vocab_size, ", positions = ", config.max_position_embeddings, ";\n", member,
              "double epsilon = ", cpp_number(config.rms_norm_eps), ", theta = ", cpp_number(config.rope_theta), ";\n",
              member, "bool tied = ", config.tie_word_embeddings ? "true" : "false", ";\n", member,
              "RotaryScaling scaling{", scaling, "};\n};\n");
}

namespace detail {

template <class First, class... More, class Visit>
decltype(auto) visit_matching(Configurations<First, More...>, const HfConfig& config,
                              const std::filesystem::path& directory, Visit&& visit, std::string mismatches = {}) {
  const std::string mismatch = differences<First>(config);
  if (mismatch.empty()) return std::forward<Visit>(visit)(First{});
  mismatches += "\n  " + mismatch;
  if constexpr (sizeof...(More) > 0)
    return visit_matching(Configurations<More...>{}, config, directory, std::forward<Visit>(visit),
                          std::move(mismatches));
  else
    throw DataError(text((directory / "config.json").string(), ": no compiled configuration has its numbers:",
                         mismatches, "\nTo compile this model, add to include/linden/model/llama_config.hpp\n",
                         configuration_code(config, directory.lexically_normal().filename().string()),
                         "and its name to LINDEN_CONFIGURATIONS (examples/CMakeLists.txt)."));
}

}  // namespace detail

/// Calls visit(C{}) with the first configuration of `List` that is the model's in `directory`; returns what it returns.
///
///     using Mine = Configurations<Llama32_1B, Llama31_8B>;
///     with_configuration<Mine>(directory, [&]<class C>(C) { const auto model = open_llama<C, float>(directory); ... });
template <class List, class Visit>
decltype(auto) with_configuration(const std::filesystem::path& directory, Visit&& visit) {
  return detail::visit_matching(List{}, read_hf_config(directory), directory, std::forward<Visit>(visit));
}

}  // namespace linden
