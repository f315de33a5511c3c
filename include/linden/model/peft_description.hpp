#pragma once
/// \file
/// What an adapter of a Llama is, in the settings of a PEFT directory and back. What PEFT does not know (kind,
/// scaling, train ranks) is kept in the metadata of the weight file.
/// Errors  UsageError for a rank the adapter does not have; DataError for metadata that contradict the settings.
/// Source  github.com/huggingface/peft, LoRA; arXiv:2605.07850.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <linden/io/peft.hpp>
#include <linden/model/adapter_description.hpp>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>

namespace linden {

/// How an adapter is written for other programs.
struct PeftExport {
  Inference inference = Inference::prefix;  ///< `weighted`: p multiplies A's columns, and the scale becomes 1
  /// No rslora and no alpha_pattern: llama.cpp's converter heeds neither, scale = lora_alpha / r there.
  bool one_alpha = false;
};

/// The kind of the projection at a path such as "model.layers.0.self_attn.q_proj".
[[nodiscard]] inline std::size_t module_kind(std::string_view path) {
  const auto ends_path = [&](std::string_view name) { return path.ends_with(name); };
  return static_cast<std::size_t>(std::ranges::find_if(module_names, ends_path) - module_names.begin());
}

namespace detail {

inline constexpr const char* foreign_scaling = "foreign";  ///< linden.scaling of an adapter with a scale of its own
inline constexpr const char* train_ranks_key = "linden.train_ranks";

[[nodiscard]] inline std::string train_ranks_key_of(std::size_t kind) {
  return text(train_ranks_key, ".", module_names[kind]);
}

/// Equal up to the rounding of a few operations.
[[nodiscard]] inline bool same_scale(double a, double b) { return std::abs(a - b) <= 1e-12 * std::abs(b); }

/// lora_alpha of a module of rank r.
[[nodiscard]] inline double peft_alpha(const AdapterDescription& description, const PeftExport& options, int r) {
  if (options.inference == Inference::weighted) return r;
  if (description.foreign_scale) return *description.foreign_scale * r;
  if (description.scaling == Scaling::none) return r;
  return description.scaling == Scaling::sqrt && options.one_alpha ? std::sqrt(r) : 1;
}

}  // namespace detail

/// The settings of the prefix of rank r: everything but modules and metadata. All tensors stay as they are, except for
/// `weighted` (p into A), and for kinds of another rank with `one_alpha` (peft_fold into A).
[[nodiscard]] inline PeftAdapter peft_settings(const AdapterDescription& description, int r,
                                               const PeftExport& options = {}) {
  if (r < 1 || r > description.full_rank)
    throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", description.full_rank));
  const bool is_trained_scale = options.inference == Inference::prefix && !description.foreign_scale;
  PeftAdapter file{.r = r, .lora_alpha = detail::peft_alpha(description, options, r)};
  file.use_rslora = is_trained_scale && description.scaling == Scaling::sqrt && !options.one_alpha;
  const ModuleRanks ranks = description.ranks_at(r);
  for (std::size_t kind = 0; kind < module_kinds; ++kind) {
    const int own = static_cast<int>(ranks.of[kind]);
    if (own == 0) continue;
    const std::string name(module_names[kind]);
    file.targets.names.push_back(name);
    if (own != r) file.rank_pattern.emplace_back(name, own);
    const double alpha = detail::peft_alpha(description, options, own);
    if (alpha != file.lora_alpha && !options.one_alpha) file.alpha_pattern.emplace_back(name, alpha);
  }
  if (file.targets.names.empty()) throw UsageError("the adapter has no modules");
  return file;
}

/// The factor on A of a kind that makes the settings' one lora_alpha right for it.
[[nodiscard]] inline double peft_fold(const AdapterDescription& description, const PeftAdapter& file, std::size_t kind,
                                      const PeftExport& options) {
  const int own = static_cast<int>(description.ranks_at(static_cast<int>(file.r)).of[kind]);
  if (!options.one_alpha || own == file.r) return 1;
  return detail::peft_alpha(description, options, own) / file.lora_alpha;
}

/// Metadata by which peft_description knows the adapter again.
[[nodiscard]] inline std::map<std::string, std::string> peft_metadata(const AdapterDescription& description) {
  const bool foreign = description.foreign_scale.has_value();
  std::map<std::string, std::string> metadata{
      {"linden.kind", std::string(to_string(description.kind))},
      {"linden.scaling", foreign ? detail::foreign_scaling : std::string(to_string(description.scaling))},
      {detail::train_ranks_key, to_string(description.train_ranks)}};
  for (std::size_t kind = 0; kind < module_kinds; ++kind)
    if (description.own[kind] && description.own[kind]->full_rank > 0)
      metadata[detail::train_ranks_key_of(kind)] = to_string(description.own[kind]->train_ranks);
  return metadata;
}

namespace detail {

/// The largest rank of every kind; 0: the file has no module of it.
[[nodiscard]] inline ModuleRanks peft_ranks(const PeftAdapter& file) {
  ModuleRanks ranks;
  for (const PeftModule& module : file.modules) {
    long& rank = ranks.of[module_kind(module.path)];
    rank = std::max(rank, file.rank(module.path));
  }
  return ranks;
}

/// Train ranks and scaling by our metadata.
class PeftMetadata {
 public:
  PeftMetadata(const PeftAdapter& file, const std::filesystem::path& directory) : file_(file), directory_(directory) {}

  void read(AdapterDescription& description, const ModuleRanks& ranks) const {
    try {
      description.full_rank = static_cast<int>(file_.r);
      description.kind = parsed("linden.kind", parse_adapter_kind);
      description.train_ranks = train_ranks(train_ranks_key, description.full_rank);
      for (std::size_t kind = 0; kind < module_kinds; ++kind)
        read_kind(description, kind, static_cast<int>(ranks.of[kind]));
      if (entry("linden.scaling") == foreign_scaling)
        description.foreign_scale = file_.scale(file_.modules.front().path);
      else
        description.scaling = parsed("linden.scaling", parse_scaling);
    } catch (const UsageError& error) {  // bad metadata are bad data
      throw DataError(text((directory_ / peft_weights_name).string(), ": ", error.what()));
    }
    for (const PeftModule& module : file_.modules) check_scale(description, module.path, ranks);
  }

 private:
  /// What parse() makes of an entry; its refusal names the key.
  template <class Parse>
  [[nodiscard]] std::invoke_result_t<Parse, std::string_view> parsed(const std::string& key, Parse parse) const {
    const std::string& found = entry(key);
    try {
      return parse(found);
    } catch (const UsageError& error) {
      throw UsageError(text("metadata ", key, ": ", error.what()));
    }
  }
  [[nodiscard]] const std::string& entry(const std::string& key) const {
    const auto found = file_.metadata.find(key);
    if (found == file_.metadata.end()) throw UsageError(text("metadata has linden.kind but lacks ", key));
    return found->second;
  }
  [[nodiscard]] RankSet train_ranks(const std::string& key, int full_rank) const {
    const RankSet ranks = parsed(key, RankSet::parse);
    if (ranks.largest() > full_rank)
      throw UsageError(text(key, " ", entry(key), ": the adapter's rank is ", full_rank));
    return ranks;
  }
  void read_kind(AdapterDescription& description, std::size_t kind, int rank) const {
    if (rank > description.full_rank)
      throw UsageError(
          text("rank ", rank, " of ", module_names[kind], ": the adapter's rank is ", description.full_rank));
    const std::string key = train_ranks_key_of(kind);
    if (rank == 0)
      description.own[kind] = AdapterDescription::Module{};
    else if (rank != description.full_rank || file_.metadata.contains(key))
      description.own[kind] = {.full_rank = rank, .train_ranks = train_ranks(key, rank)};
  }
  void check_scale(const AdapterDescription& description, const std::string& path, const ModuleRanks& ranks) const {
    const double expected = description.scale_at(static_cast<int>(ranks.of[module_kind(path)])),
                 found = file_.scale(path);
    if (std::abs(found - expected) > 1e-6 * std::abs(expected))
      throw DataError(text((directory_ / peft_config_name).string(), ": lora_alpha gives scale ", found, " to ", path,
                           ", but metadata linden.scaling says ", expected));
  }

  const PeftAdapter& file_;
  const std::filesystem::path& directory_;
};

/// The mode whose scales the file has, or one scale of its own, or scale 1 where the modules' scales agree in nothing.
inline void find_scaling(const PeftAdapter& file, const ModuleRanks& ranks, AdapterDescription& description) {
  const auto all_have = [&](auto expected) {
    return std::ranges::all_of(file.modules, [&](const PeftModule& module) {
      const int rank = static_cast<int>(ranks.of[module_kind(module.path)]);
      return same_scale(file.scale(module.path), expected(rank));
    });
  };
  for (const Scaling mode : {Scaling::none, Scaling::rank, Scaling::sqrt})
    if (all_have([&](int rank) { return scale(mode, rank); })) {
      description.scaling = mode;
      return;
    }
  const double first = file.scale(file.modules.front().path);
  description.foreign_scale = all_have([&](int) { return first; }) ? first : 1;
}

}  // namespace detail

/// What the adapter in a loaded PEFT directory is; without our metadata a LoRA. A kind whose modules differ in rank
/// gets the largest (the others' factors are to be padded with zeros), and where scales differ in a way no mode does,
/// the scale is 1 (each module's own is to be folded into its A, see peft_unfolded_scale).
[[nodiscard]] inline AdapterDescription peft_description(const PeftAdapter& file,
                                                         const std::filesystem::path& directory) {
  const ModuleRanks ranks = detail::peft_ranks(file);
  AdapterDescription description;
  if (file.metadata.contains("linden.kind")) {
    detail::PeftMetadata(file, directory).read(description, ranks);
    return description;
  }
  description.full_rank = static_cast<int>(ranks.largest());
  description.train_ranks = RankSet{description.full_rank};
  for (std::size_t kind = 0; kind < module_kinds; ++kind) {
    const int rank = static_cast<int>(ranks.of[kind]);
    if (rank == 0)
      description.own[kind] = AdapterDescription::Module{};
    else if (rank != description.full_rank)
      description.own[kind] = {.full_rank = rank, .train_ranks = RankSet{rank}};
  }
  detail::find_scaling(file, ranks, description);
  return description;
}

/// What is left of a module's scale in the file after the description's: the factor to fold into its A, mostly 1.
[[nodiscard]] inline double peft_unfolded_scale(const PeftAdapter& file, const AdapterDescription& description,
                                                const std::string& path) {
  const double found = file.scale(path),
               expected = description.scale_at(description.module(module_kind(path)).full_rank);
  return detail::same_scale(found, expected) ? 1 : found / expected;
}

}  // namespace linden
