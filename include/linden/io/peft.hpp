#pragma once
/// \file
/// LoRA adapters as a PEFT directory: adapter_config.json beside adapter_model.safetensors. Knows module paths, not
/// models. A module computes y = base(x) + scale * lora_B (lora_A x), scale = lora_alpha / r, or lora_alpha / sqrt(r)
/// with rslora; r and lora_alpha may be a module's own (io/peft_modules.hpp).
/// Shapes  lora_a [r, in], lora_b [out, r], row-major.
/// Errors  DataError naming the file, the field or tensor, found and expected. Loading is strict where PEFT only warns:
///         a misspelt or missing tensor would silently give the base model. Settings that change the function in a way
///         not computed here (DoRA, biases, ...) and weights that are not finite are refused.
///         UsageError for an adapter that cannot be saved.
/// Source  github.com/huggingface/peft 0.21, LoraConfig, LoraLayer and save_pretrained.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <linden/io/peft_modules.hpp>
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
  std::string path;             ///< in the base model, such as "model.layers.0.self_attn.q_proj"
  long in = 0;                  ///< columns of its input
  long out = 0;                 ///< columns of its output
  std::vector<float> lora_a{};  ///< [r, in]
  std::vector<float> lora_b{};  ///< [out, r]
};

/// An adapter: its settings and its modules.
struct PeftAdapter {
  long r = 8;                                     ///< the rank of modules that have none of their own
  double lora_alpha = 8;                          ///< the numerator of their scale
  bool use_rslora = false;                        ///< the scale is lora_alpha / sqrt(r)
  std::string base_model{};                       ///< name or path; empty when unknown
  PeftTargets targets{};                          ///< which modules it adapts
  PeftPattern<long> rank_pattern{};               ///< where r is another
  PeftPattern<double> alpha_pattern{};            ///< where lora_alpha is another
  std::map<std::string, std::string> metadata{};  ///< of the weight file; saving adds "format": "pt"
  std::vector<PeftModule> modules{};              ///< in the order of the file

  /// The rank of the module at `path`.
  [[nodiscard]] long rank(std::string_view path) const { return pattern_value(rank_pattern, path).value_or(r); }
  /// The factor on its lora_B lora_A.
  [[nodiscard]] double scale(std::string_view path) const {
    const auto own_rank = static_cast<double>(rank(path));
    return pattern_value(alpha_pattern, path).value_or(lora_alpha) / (use_rslora ? std::sqrt(own_rank) : own_rank);
  }
};

/// A linear module the base model offers for adaptation, and its size.
struct ExpectedModule {
  std::string path;  ///< in the base model
  long in = 0;       ///< columns of its input
  long out = 0;      ///< columns of its output
};

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
    {"exclude_modules", "null"},
    {"layer_replication", "null"},
    {"target_parameters", "null"},
    {"trainable_token_indices", "null"},
    {"alora_invocation_tokens", "null"},
    {"use_bdlora", "null"},
    {"arrow_config", "null"},
    {"kasa_config", "null"},
    {"monteclora_config", "null"},
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
    throw DataError(text(where, ": tensor '", *unknown.begin(), "' is unknown, expected only lora_A and lora_B of the ",
                         expected.size(), " modules of the model that target_modules names"));
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
  adapter.targets = detail::read_targets(fields);
  const auto in_order = nlohmann::ordered_json::parse(MappedFile(file).characters());
  adapter.rank_pattern =
      detail::read_pattern<long>(fields, in_order, "rank_pattern", [](auto& of, auto& key) { return of.integer(key); });
  adapter.alpha_pattern = detail::read_pattern<double>(fields, in_order, "alpha_pattern",
                                                       [](auto& of, auto& key) { return of.number(key); });
  return adapter;
}

namespace detail {

/// The modules that the adapter's expressions match. Settings that would fail for one of them (too much backtracking) are refused.
[[nodiscard]] inline std::vector<ExpectedModule> adapted_modules(const PeftAdapter& adapter, std::span<const ExpectedModule> offered,
                                                                 const std::filesystem::path& directory) {
  std::vector<ExpectedModule> adapted;
  try {
    for (const ExpectedModule& module : offered) {
      if (!adapter.targets.match(module.path)) continue;
      static_cast<void>(adapter.scale(module.path));  // matches its patterns
      adapted.push_back(module);
    }
  } catch (const DataError& error) {
    throw DataError(text((directory / peft_config_name).string(), ": ", error.what()));
  }
  return adapted;
}

}  // namespace detail

/// Loads the adapter in `directory`, which must hold exactly the modules of `offered` that its targets match; they come
/// back in that order. Weights stored as F64, BF16 or F16 are converted to float.
[[nodiscard]] inline PeftAdapter load_peft(const std::filesystem::path& directory,
                                           std::span<const ExpectedModule> offered) {
  PeftAdapter adapter = read_peft_config(directory);
  const std::vector<ExpectedModule> expected = detail::adapted_modules(adapter, offered, directory);
  if (expected.empty())
    throw DataError(text((directory / detail::peft_config_name).string(), ": field 'target_modules': found ",
                         detail::targets_json(adapter.targets).dump(), ", which is no module of the model"));
  const auto weights = directory / detail::peft_weights_name;
  if (!file_exists(weights) && file_exists(directory / "adapter_model.bin"))
    throw DataError(
        text(weights.string(), ": is missing; adapter_model.bin (a pickle) is not read, save it as safetensors"));
  const SafeTensors file(weights);
  detail::check_tensor_names(file, expected);
  adapter.metadata = file.metadata();
  for (const auto& [path, in, out] : expected) {
    const long rank = adapter.rank(path);
    adapter.modules.push_back({path, in, out, detail::read_factor(file, detail::peft_tensor(path, 'A'), rank, in),
                               detail::read_factor(file, detail::peft_tensor(path, 'B'), out, rank)});
  }
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
  nlohmann::json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["base_model_name_or_path"] = adapter.base_model.empty() ? nlohmann::json() : nlohmann::json(adapter.base_model);
  json["r"] = adapter.r;
  json["lora_alpha"] = alpha_json(adapter.lora_alpha);
  json["lora_dropout"] = 0.0;
  json["use_rslora"] = adapter.use_rslora;
  json["target_modules"] = targets_json(adapter.targets);
  json["bias"] = "none";
  json["inference_mode"] = true;
  json["init_lora_weights"] = true;
  json["fan_in_fan_out"] = json["use_dora"] = false;
  json["rank_pattern"] = pattern_json(adapter.rank_pattern, [](long rank) { return rank; });
  json["alpha_pattern"] = pattern_json(adapter.alpha_pattern, alpha_json);
  for (const auto* key : {"modules_to_save", "layers_to_transform", "layers_pattern", "auto_mapping", "revision"})
    json[key] = nullptr;
  if (!adapter.targets.layers.empty()) json["layers_to_transform"] = adapter.targets.layers;
  if (!adapter.targets.layer_patterns.empty()) json["layers_pattern"] = adapter.targets.layer_patterns;
  return json;
}

/// Refuses a module that load_peft or PEFT would not take back as it is; `in_file` has the settings as a file keeps
/// them.
inline void check_saveable(const PeftModule& module, const PeftAdapter& adapter, const PeftAdapter& in_file,
                           const std::filesystem::path& directory) {
  const auto place = text(directory.string(), ": module '", module.path, "'");
  if (module.in < 1 || module.out < 1)
    throw UsageError(text(place, ": has size ", module.out, " x ", module.in, ", expected positive numbers"));
  if (!adapter.targets.match(module.path))
    throw UsageError(text(place, ": is not named by target_modules, loaders would ignore it"));
  const long rank = adapter.rank(module.path);
  if (rank != in_file.rank(module.path) || adapter.scale(module.path) != in_file.scale(module.path))
    throw UsageError(text(place, ": matches several patterns, whose order a file does not keep"));
  const auto check_size = [&](const char* factor, std::size_t found, long rows, long columns) {
    if (found != static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))
      throw UsageError(text(place, ": ", factor, " has ", found, " elements, expected [", rows, ", ", columns, "]"));
  };
  check_size("lora_a", module.lora_a.size(), rank, module.in);
  check_size("lora_b", module.lora_b.size(), module.out, rank);
  check_finite(module.lora_a, peft_tensor(module.path, 'A'), directory);
  check_finite(module.lora_b, peft_tensor(module.path, 'B'), directory);
}

/// Refuses an adapter that load_peft or PEFT would not take back as it is.
inline void check_saveable(const PeftAdapter& adapter, const std::filesystem::path& directory) {
  const auto where = directory.string();
  PeftAdapter in_file{.r = adapter.r, .lora_alpha = adapter.lora_alpha, .use_rslora = adapter.use_rslora};
  in_file.rank_pattern = adapter.rank_pattern;
  in_file.alpha_pattern = adapter.alpha_pattern;
  std::sort(in_file.rank_pattern.begin(), in_file.rank_pattern.end());
  std::sort(in_file.alpha_pattern.begin(), in_file.alpha_pattern.end());
  const auto check_numbers = [&](long rank, double alpha) {
    if (rank < 1) throw UsageError(text(where, ": adapter has rank ", rank, ", expected at least 1"));
    if (!std::isfinite(alpha)) throw UsageError(text(where, ": lora_alpha is ", alpha));
  };
  check_numbers(adapter.r, adapter.lora_alpha);
  for (const auto& [expression, rank] : adapter.rank_pattern) check_numbers(rank, 0);
  for (const auto& [expression, alpha] : adapter.alpha_pattern) check_numbers(1, alpha);
  if (adapter.modules.empty()) throw UsageError(text(where, ": adapter has no modules"));
  std::set<std::string> paths;
  for (const auto& module : adapter.modules) {
    if (!paths.insert(module.path).second)
      throw UsageError(text(where, ": module '", module.path, "': is given twice"));
    check_saveable(module, adapter, in_file, directory);
  }
  // Both refuse strings that are not UTF-8.
  (void)json_text(peft_config_json(adapter), 2, (directory / peft_config_name).string());
  (void)json_text(adapter.metadata, -1, (directory / peft_weights_name).string());
}

inline void write_peft_files(const std::filesystem::path& directory, const PeftAdapter& adapter) {
  std::vector<StoredTensor> tensors;
  for (const auto& module : adapter.modules) {
    const auto rank = static_cast<std::uint64_t>(adapter.rank(module.path));
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
