#pragma once
/// \file
/// LoRA adapters as a PEFT directory: adapter_config.json beside adapter_model.safetensors. Knows module paths, not
/// models. A module computes y = base(x) + scale * lora_B (lora_A x), scale = lora_alpha / r, or lora_alpha / sqrt(r)
/// with rslora. Shapes  lora_a [r, in], lora_b [out, r], row-major. Errors  DataError naming the file, the field or
/// tensor, found and expected. Loading is strict where PEFT only warns:
///         a misspelt or missing tensor would silently give the base model. Settings that change the function in a way
///         not computed here (DoRA, biases, per-module ranks, ...) and weights that are not finite are refused.
///         UsageError for an adapter that cannot be saved.
/// Source  github.com/huggingface/peft 0.20, LoraConfig, LoraLayer and save_pretrained.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <linden/io/safetensors.hpp>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace linden {

/// One adapted linear module.
struct PeftModule {
  std::string path;  // in the base model, such as "model.layers.0.self_attn.q_proj"
  long in = 0;
  long out = 0;
  std::vector<float> lora_a{};  // [r, in]
  std::vector<float> lora_b{};  // [out, r]
};

/// An adapter: its settings and its modules.
struct PeftAdapter {
  long r = 8;
  double lora_alpha = 8;
  bool use_rslora = false;
  std::string base_model{};                       // name or path; empty when unknown
  std::vector<std::string> target_modules{};      // path endings such as "q_proj", or the one word "all-linear"
  std::map<std::string, std::string> metadata{};  // of the weight file; saving adds "format": "pt"
  std::vector<PeftModule> modules{};

  /// The factor on lora_B lora_A.
  [[nodiscard]] double scale() const {
    return lora_alpha / (use_rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r));
  }
};

/// A module the base model offers for adaptation, and its size.
struct ExpectedModule {
  std::string path;
  long in = 0;
  long out = 0;
};

/// True when PEFT would adapt the linear module at `path`: it is a target, ends with "." + target, or all are meant
/// (by "all-linear" alone; in a longer list that is a name like any other).
[[nodiscard]] inline bool matches_target(std::string_view path, std::span<const std::string> target_modules) {
  if (target_modules.size() == 1 && target_modules[0] == "all-linear") return true;
  return std::any_of(target_modules.begin(), target_modules.end(),
                     [&](const std::string& target) { return path == target || path.ends_with("." + target); });
}

namespace detail {

inline constexpr const char* peft_config_name = "adapter_config.json";
inline constexpr const char* peft_weights_name = "adapter_model.safetensors";

[[nodiscard]] inline std::string peft_tensor(const std::string& path, char factor) {
  return text("base_model.model.", path, ".lora_", factor, ".weight");
}

/// Settings that must be off, with what being off looks like.
inline constexpr std::array<std::pair<const char*, const char*>, 14> unsupported_peft_settings{{
    {"use_dora", "false"},
    {"use_qalora", "false"},
    {"lora_bias", "false"},
    {"fan_in_fan_out", "false"},
    {"modules_to_save", "null"},
    {"rank_pattern", "{} (one rank for all modules)"},
    {"alpha_pattern", "{} (one lora_alpha for all modules)"},
    {"exclude_modules", "null"},
    {"layers_to_transform", "null"},
    {"layers_pattern", "null"},
    {"layer_replication", "null"},
    {"target_parameters", "null"},
    {"trainable_token_indices", "null"},
    {"alora_invocation_tokens", "null"},
}};

inline void check_peft_settings(const JsonObject& fields) {
  if (!fields.has("peft_type") || fields.string("peft_type") != "LORA") fields.fail("peft_type", "\"LORA\"");
  if (fields.has("bias") && fields.string("bias") != "none") fields.fail("bias", "\"none\"");
  for (const auto& [key, off] : unsupported_peft_settings) {
    const auto* field = fields.find(key);
    const bool is_off = field == nullptr || *field == false || (field->is_structured() && field->empty());
    if (!is_off) fields.fail(key, off);
  }
  // Other initialisations (PiSSA, OLoRA, ...) also change the base weights.
  const auto* start = fields.find("init_lora_weights");
  if (start != nullptr && !start->is_boolean() && *start != "gaussian" && *start != "orthogonal" && *start != "eva")
    fields.fail("init_lora_weights", "true, false or an initialisation that leaves the base weights alone");
}

[[nodiscard]] inline std::vector<std::string> target_modules(const JsonObject& fields) {
  const auto* field = fields.find("target_modules");
  if (field != nullptr && *field == "all-linear") return {"all-linear"};
  const auto is_string = [](const nlohmann::json& item) { return item.is_string(); };
  if (field == nullptr || !field->is_array() || field->empty() || !std::all_of(field->begin(), field->end(), is_string))
    fields.fail("target_modules", "a list of module names or \"all-linear\" (regular expressions are not supported)");
  return field->get<std::vector<std::string>>();
}

/// The names of all tensors the file must hold, and no other.
inline void check_tensor_names(const SafeTensors& file, std::span<const ExpectedModule> expected) {
  std::set<std::string> unknown;
  for (const auto& name : file.names()) unknown.insert(name);
  std::string missing;
  for (const auto& module : expected)
    for (const char factor : {'A', 'B'})
      if (const auto name = peft_tensor(module.path, factor); unknown.erase(name) == 0 && missing.empty())
        missing = name;
  const auto where = file.path().string();
  const auto also = unknown.empty() ? "" : text(" (and '", *unknown.begin(), "' is unknown)");
  if (!missing.empty()) throw DataError(text(where, ": tensor '", missing, "' is missing", also));
  if (!unknown.empty())
    throw DataError(text(where, ": tensor '", *unknown.begin(), "' is unknown, expected only lora_A and lora_B of ",
                         expected.size(), " modules"));
}

inline void check_finite(std::span<const float> values, const std::string& name, const std::filesystem::path& file) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw DataError(text(file.string(), ": tensor '", name, "': found ", values[i], " at element ", i,
                           ", expected finite values"));
}

[[nodiscard]] inline std::vector<float> read_factor(const SafeTensors& file, const std::string& name, long rows,
                                                    long columns) {
  const std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)};
  if (file.entry(name).shape != shape)
    throw DataError(text(file.path().string(), ": tensor '", name, "': found shape ", shown(file.entry(name).shape),
                         ", expected ", shown(shape)));
  std::vector<float> values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  file.read<float>(name, shape, values);
  check_finite(values, name, file.path());
  return values;
}

}  // namespace detail

/// The settings of the adapter in `directory`: everything but `metadata` and `modules`. Tells which modules to expect.
[[nodiscard]] inline PeftAdapter read_peft_config(const std::filesystem::path& directory) {
  const auto file = directory / detail::peft_config_name;
  const auto json = read_json(file);
  const JsonObject fields(json, file.string());
  detail::check_peft_settings(fields);
  PeftAdapter adapter;
  if (fields.has("r")) adapter.r = fields.integer("r");
  if (fields.has("lora_alpha")) adapter.lora_alpha = fields.number("lora_alpha");
  adapter.use_rslora = fields.flag("use_rslora");
  if (fields.has("base_model_name_or_path")) adapter.base_model = fields.string("base_model_name_or_path");
  adapter.target_modules = detail::target_modules(fields);
  return adapter;
}

/// Loads the adapter in `directory`, which must adapt exactly the modules of `expected`; they come back in that order.
/// Weights stored as F64, BF16 or F16 are converted to float.
[[nodiscard]] inline PeftAdapter load_peft(const std::filesystem::path& directory,
                                           std::span<const ExpectedModule> expected) {
  PeftAdapter adapter = read_peft_config(directory);
  for (const auto& module : expected)
    if (!matches_target(module.path, adapter.target_modules))
      throw DataError(text((directory / detail::peft_config_name).string(), ": field 'target_modules': found ",
                           nlohmann::json(adapter.target_modules).dump(), ", expected it to name '", module.path, "'"));
  const auto weights = directory / detail::peft_weights_name;
  if (!file_exists(weights) && file_exists(directory / "adapter_model.bin"))
    throw DataError(
        text(weights.string(), ": is missing; adapter_model.bin (a pickle) is not read, save it as safetensors"));
  const SafeTensors file(weights);
  detail::check_tensor_names(file, expected);
  adapter.metadata = file.metadata();
  for (const auto& [path, in, out] : expected)
    adapter.modules.push_back({path, in, out, detail::read_factor(file, detail::peft_tensor(path, 'A'), adapter.r, in),
                               detail::read_factor(file, detail::peft_tensor(path, 'B'), out, adapter.r)});
  return adapter;
}

namespace detail {

/// An integer where it is one: some loaders insist.
[[nodiscard]] inline nlohmann::json alpha_json(double alpha) {
  constexpr double exact = 9007199254740992.0;  // 2^53
  if (std::trunc(alpha) == alpha && std::abs(alpha) < exact) return static_cast<std::int64_t>(alpha);
  return alpha;
}

[[nodiscard]] inline nlohmann::json peft_config_json(const PeftAdapter& adapter) {
  const bool all = adapter.target_modules == std::vector<std::string>{"all-linear"};
  nlohmann::json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["base_model_name_or_path"] = adapter.base_model.empty() ? nlohmann::json() : nlohmann::json(adapter.base_model);
  json["r"] = adapter.r;
  json["lora_alpha"] = alpha_json(adapter.lora_alpha);
  json["lora_dropout"] = 0.0;
  json["use_rslora"] = adapter.use_rslora;
  json["target_modules"] = all ? nlohmann::json("all-linear") : nlohmann::json(adapter.target_modules);
  json["bias"] = "none";
  json["inference_mode"] = true;
  json["init_lora_weights"] = true;
  json["fan_in_fan_out"] = json["use_dora"] = false;
  json["rank_pattern"] = json["alpha_pattern"] = nlohmann::json::object();
  for (const auto* key : {"modules_to_save", "layers_to_transform", "layers_pattern", "auto_mapping", "revision"})
    json[key] = nullptr;
  return json;
}

/// Refuses an adapter that load_peft or PEFT would not take back as it is.
inline void check_saveable(const PeftAdapter& adapter, const std::filesystem::path& directory) {
  const auto where = directory.string();
  if (adapter.r < 1) throw UsageError(text(where, ": adapter has rank ", adapter.r, ", expected at least 1"));
  if (!std::isfinite(adapter.lora_alpha)) throw UsageError(text(where, ": lora_alpha is ", adapter.lora_alpha));
  if (adapter.modules.empty()) throw UsageError(text(where, ": adapter has no modules"));
  std::set<std::string> paths;
  for (const auto& module : adapter.modules) {
    const auto place = text(where, ": module '", module.path, "'");
    if (!paths.insert(module.path).second) throw UsageError(text(place, ": is given twice"));
    if (module.in < 1 || module.out < 1)
      throw UsageError(text(place, ": has size ", module.out, " x ", module.in, ", expected positive numbers"));
    if (!matches_target(module.path, adapter.target_modules))
      throw UsageError(text(place, ": is not named by target_modules, loaders would ignore it"));
    const auto check_size = [&](const char* factor, std::size_t found, long rows, long columns) {
      if (found != static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))
        throw UsageError(text(place, ": ", factor, " has ", found, " elements, expected [", rows, ", ", columns, "]"));
    };
    check_size("lora_a", module.lora_a.size(), adapter.r, module.in);
    check_size("lora_b", module.lora_b.size(), module.out, adapter.r);
    check_finite(module.lora_a, peft_tensor(module.path, 'A'), directory);
    check_finite(module.lora_b, peft_tensor(module.path, 'B'), directory);
  }
  // Both refuse strings that are not UTF-8.
  (void)json_text(peft_config_json(adapter), 2, (directory / peft_config_name).string());
  (void)json_text(adapter.metadata, -1, (directory / peft_weights_name).string());
}

inline void write_peft_files(const std::filesystem::path& directory, const PeftAdapter& adapter) {
  std::vector<StoredTensor> tensors;
  const auto rank = static_cast<std::uint64_t>(adapter.r);
  for (const auto& module : adapter.modules) {
    const auto in = static_cast<std::uint64_t>(module.in);
    const auto out = static_cast<std::uint64_t>(module.out);
    tensors.push_back(stored_tensor<float>(peft_tensor(module.path, 'A'), {rank, in}, module.lora_a));
    tensors.push_back(stored_tensor<float>(peft_tensor(module.path, 'B'), {out, rank}, module.lora_b));
  }
  auto metadata = adapter.metadata;
  metadata["format"] = "pt";  // transformers refuses metadata without it
  write_safetensors(directory / peft_weights_name, tensors, metadata);
  write_json(directory / peft_config_name, peft_config_json(adapter));
}

/// Fills a new directory through `fill(temporary)` so that it appears under its name whole, or not at all.
template <class Fill>
void make_directory_atomically(const std::filesystem::path& directory, Fill fill) {
  std::error_code error;
  if (directory.has_parent_path()) std::filesystem::create_directories(directory.parent_path(), error);
  if (error) throw DataError(text(directory.string(), ": cannot be created: ", error.message()));
  const auto temporary = temporary_beside(directory);
  const auto discard = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(temporary, ignored);
  };
  discard();  // left by a crashed process that had our number
  std::filesystem::create_directory(temporary, error);
  if (error) throw DataError(text(directory.string(), ": cannot be created: ", error.message()));
  try {
    fill(temporary);
    std::filesystem::rename(temporary, directory, error);
    if (error) throw DataError(text(directory.string(), ": cannot be put in place: ", error.message()));
  } catch (...) {
    discard();
    throw;
  }
  flush_directory(directory.parent_path());
}

}  // namespace detail

/// Saves `adapter` for PEFT and its followers. A new directory (parents are made) appears whole; in one that exists
/// each of the two files is replaced whole, the weights first, and other files stay.
inline void save_peft(const std::filesystem::path& directory, const PeftAdapter& adapter) {
  detail::check_saveable(adapter, directory);
  const auto fill = [&](const std::filesystem::path& place) { detail::write_peft_files(place, adapter); };
  const auto plain = directory.lexically_normal();
  const auto target = plain.has_filename() ? plain : plain.parent_path();  // "out/" and "out" are the same
  if (file_exists(target))
    fill(target);
  else
    detail::make_directory_atomically(target, fill);
}

}  // namespace linden
