#pragma once
/// \file
/// The command line's words for where a model runs, and what they leave in records.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/cli.hpp"
#include "support/engine.hpp"

namespace linden::examples {

/// An option whose value is one of some words; the first is the default, which `value` has already.
template <class Value, class Target>
CLI::Option* add_choice(CLI::App& app, const std::string& name, const std::vector<std::pair<std::string, Value>>& words, Target& value,
                        const std::string& help) {
  std::vector<std::string> names;
  for (const auto& [word, meaning] : words) names.push_back(word);
  const auto read = [words, &value](const std::string& given) {
    for (const auto& [word, meaning] : words)
      if (word == given) value = meaning;
  };
  return app.add_option_function<std::string>(name, read, help)->check(CLI::IsMember(names))->default_str(names.front());
}

/// --device, --compute and --attention.
inline void add_device_options(CLI::App& app, EngineOptions& options) {
  add_choice<DeviceKind>(app, "--device", {{"cpu", DeviceKind::cpu}, {"cuda", DeviceKind::cuda}}, options.device,
                         "where the model runs; cuda: an NVIDIA GPU");
  add_choice<Compute>(app, "--compute", {{"bf16", Compute::bf16}, {"fp32", Compute::fp32}}, options.compute,
                      "what a GPU computes with; the CPU always with fp32");
  add_choice<AttentionBy>(app, "--attention", {{"own", AttentionBy::own}, {"cudnn", AttentionBy::cudnn}}, options.attention,
                          "whose attention a GPU runs; cudnn: in bf16, but for generation");
}

/// --keep, of training.
inline void add_keep_option(CLI::App& app, std::optional<Keep>& keep) {
  add_choice<std::optional<Keep>>(
      app, "--keep",
      {{"auto", std::nullopt}, {"everything", Keep::everything}, {"costly", Keep::costly}, {"inputs", Keep::inputs}}, keep,
      "activations kept for the backward pass, the rest is recomputed; auto: what fits");
}

/// Where results come from, in the settings they are recorded with; the CPU goes without saying.
inline void add_device(const EngineOptions& options, nlohmann::json& settings) {
  if (options.device != DeviceKind::cuda) return;
  settings["device"] = {{"kind", "cuda"}, {"compute", options.compute == Compute::bf16 ? "bf16" : "fp32"}};
  if (options.attention == AttentionBy::cudnn) settings["device"]["attention"] = "cudnn";
}

}  // namespace linden::examples
