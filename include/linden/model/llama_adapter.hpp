#pragma once
/// \file
/// An adapter of a Llama: its factors in one flat buffer, what it was trained as, and its PEFT directory.
/// Shapes  A [in, R] and B [R, out] in memory; lora_A [R, in] and lora_B [out, R] in files (both transposed).
/// Errors  DataError when a directory does not hold exactly this model's adapter (io/peft.hpp), or its metadata contradict.
/// Source  arXiv:2605.07850; huggingface/peft, LoRA.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <linden/adapter/initialise.hpp>
#include <linden/adapter/rank_set.hpp>
#include <linden/adapter/weighting.hpp>
#include <linden/io/peft.hpp>
#include <linden/model/parameters.hpp>
#include <optional>

namespace linden {

/// What an adapter is, apart from its numbers.
struct AdapterDescription {
  AdapterKind kind = AdapterKind::lora;
  Scaling scaling = Scaling::none;
  int full_rank = 8;
  RankSet train_ranks{8};
  std::optional<double> foreign_scale{};  ///< of an imported adapter whose scale is none of the three modes'

  /// s_r, the factor on the rank-r prefix at inference.
  [[nodiscard]] double scale_at(int r) const { return foreign_scale ? *foreign_scale : scale(scaling, r); }
};

/// How an adapter is read at a rank: the paper drops p (`prefix`), `weighted` keeps Algorithm 1's p on the prefix.
enum class Inference { prefix, weighted };

/// The row of P for inference at rank r: s_r, or the first r elements of p.
template <class T>
std::vector<T> inference_row(const AdapterDescription& description, int r, Inference inference) {
  if (r < 1 || r > description.full_rank)
    throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", description.full_rank));
  if (inference == Inference::prefix)
    return std::vector<T>(static_cast<std::size_t>(r), static_cast<T>(description.scale_at(r)));
  if (description.kind != AdapterKind::matryoshka)
    throw UsageError(text("weighted inference keeps MatryoshkaLoRA's p; this adapter is of kind ", to_string(description.kind)));
  std::vector<T> p(static_cast<std::size_t>(description.full_rank));
  matryoshka_weights(p, description.train_ranks, description.scaling);
  p.resize(static_cast<std::size_t>(r));
  return p;
}

template <LlamaConfiguration C, Real T>
class LlamaAdapter {
 public:
  /// Zero factors.
  explicit LlamaAdapter(AdapterDescription description)
      : description_(std::move(description)),
        memory_(static_cast<std::size_t>(AdapterFactors<C, T>::count(description_.full_rank))),
        factors_(memory_.data(), description_.full_rank) {
    std::ranges::fill(memory_.span(), T(0));
  }

  /// A random, B zero; one stream of draws for the whole adapter, in layer order.
  void initialise(Initialisation rule, std::uint64_t seed) {
    TorchUniform uniform(static_cast<std::uint32_t>(seed));
    factors_.for_each([&](const std::string&, auto view) {
      if (decltype(view)::shape::column_count == rank)
        initialise_a(view.span(), static_cast<std::size_t>(view.rows()), static_cast<std::size_t>(view.columns()), rule, uniform);
    });
  }

  [[nodiscard]] const AdapterDescription& description() const { return description_; }
  [[nodiscard]] const AdapterFactors<C, T>& factors() const { return factors_; }
  [[nodiscard]] std::span<T> parameters() { return memory_.span(); }

  /// The modules an adapter directory of this model must hold.
  static std::vector<ExpectedModule> modules() {
    std::vector<ExpectedModule> list;
    AdapterFactors<C, T> shapes(nullptr, 1);
    shapes.for_each([&](const std::string& name, auto view) {
      if (name.ends_with(".lora_A"))
        list.push_back({.path = name.substr(0, name.size() - 7), .in = view.rows(), .out = 0});
      else
        list.back().out = view.columns();
    });
    return list;
  }

  /// Writes the adapter at full rank as a PEFT directory; what PEFT does not know goes into the file's metadata.
  void save(const std::filesystem::path& directory, const std::string& base_model) {
    const int R = description_.full_rank;
    PeftAdapter file{.r = R, .base_model = base_model};
    file.lora_alpha = description_.foreign_scale     ? *description_.foreign_scale * R
                      : description_.scaling == Scaling::none ? R
                                                              : 1;
    file.use_rslora = !description_.foreign_scale && description_.scaling == Scaling::sqrt;
    file.target_modules = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
    file.metadata = {{"linden.kind", std::string(to_string(description_.kind))},
                     {"linden.scaling", description_.foreign_scale ? foreign : std::string(to_string(description_.scaling))},
                     {"linden.train_ranks", to_string(description_.train_ranks)}};
    for (const ExpectedModule& module : modules())
      file.modules.push_back({.path = module.path, .in = module.in, .out = module.out});
    std::size_t next = 0;
    factors_.for_each([&](const std::string& name, auto view) {
      PeftModule& module = file.modules[next / 2];
      (name.ends_with(".lora_A") ? module.lora_a : module.lora_b) = transposed<float>(view);
      ++next;
    });
    save_peft(directory, file);
  }

  /// The adapter in a PEFT directory: ours, or any LoRA on the seven projections.
  static LlamaAdapter load(const std::filesystem::path& directory) {
    const auto expected = modules();
    const PeftAdapter file = load_peft(directory, expected);
    LlamaAdapter adapter(describe(file, directory));
    std::size_t next = 0;
    adapter.factors_.for_each([&](const std::string& name, auto view) {
      const PeftModule& module = file.modules[next / 2];
      const std::vector<float>& stored = name.ends_with(".lora_A") ? module.lora_a : module.lora_b;
      for (long i = 0; i < view.rows(); ++i)
        for (long j = 0; j < view.columns(); ++j)
          view(i, j) = static_cast<T>(stored[static_cast<std::size_t>(j * view.rows() + i)]);
      ++next;
    });
    return adapter;
  }

 private:
  template <class To, class View>
  static std::vector<To> transposed(View view) {
    std::vector<To> out;
    out.reserve(view.size());
    for (long j = 0; j < view.columns(); ++j)
      for (long i = 0; i < view.rows(); ++i) out.push_back(static_cast<To>(view(i, j)));
    return out;
  }

  static constexpr const char* foreign = "foreign";  ///< linden.scaling of an adapter with a scale of its own

  /// What the directory says the adapter is; without our metadata it is a LoRA.
  static AdapterDescription describe(const PeftAdapter& file, const std::filesystem::path& directory) {
    AdapterDescription description;
    description.full_rank = static_cast<int>(file.r);
    description.train_ranks = RankSet{description.full_rank};
    if (file.metadata.contains("linden.kind"))
      read_metadata(file, directory, description);
    else
      find_scaling(file, description);
    const double expected = description.scale_at(description.full_rank);
    if (std::abs(file.scale() - expected) > 1e-6 * std::abs(expected))
      throw DataError(text(directory.string(), "/adapter_config.json: lora_alpha ", file.lora_alpha, " gives scale ",
                           file.scale(), ", but metadata linden.scaling says ", expected));
    return description;
  }

  static void read_metadata(const PeftAdapter& file, const std::filesystem::path& directory, AdapterDescription& description) {
    const auto entry = [&](const char* key) {
      const auto found = file.metadata.find(key);
      if (found == file.metadata.end()) throw UsageError(text("metadata has linden.kind but lacks ", key));
      return found->second;
    };
    try {
      description.kind = parse_adapter_kind(entry("linden.kind"));
      description.train_ranks = RankSet::parse(entry("linden.train_ranks"));
      if (description.train_ranks.largest() > description.full_rank)
        throw UsageError(text("linden.train_ranks ", entry("linden.train_ranks"), ": the adapter's rank is ", file.r));
      if (entry("linden.scaling") == foreign)
        description.foreign_scale = file.scale();
      else
        description.scaling = parse_scaling(entry("linden.scaling"));
    } catch (const UsageError& error) {  // bad metadata are bad data
      throw DataError(text((directory / detail::peft_weights_name).string(), ": ", error.what()));
    }
  }

  static void find_scaling(const PeftAdapter& file, AdapterDescription& description) {
    for (const Scaling mode : {Scaling::none, Scaling::rank, Scaling::sqrt})
      if (std::abs(file.scale() - scale(mode, description.full_rank)) <= 1e-12 * file.scale()) {
        description.scaling = mode;
        return;
      }
    description.foreign_scale = file.scale();
  }

  AdapterDescription description_;
  AlignedBuffer<T> memory_;
  AdapterFactors<C, T> factors_;
};

}  // namespace linden
