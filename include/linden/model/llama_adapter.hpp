#pragma once
/// \file
/// An adapter of a Llama: its factors in one flat buffer, what it was trained as, and its PEFT directory.
/// Shapes  A [in, R] and B [R, out] in memory; lora_A [R, in] and lora_B [out, R] in files (both transposed).
/// Errors  DataError when a directory does not hold an adapter of this model (io/peft.hpp), or its metadata contradict;
///         UsageError for a rank the adapter does not have.
/// Source  arXiv:2605.07850; huggingface/peft, LoRA.

#include <algorithm>
#include <array>
#include <filesystem>
#include <linden/adapter/initialise.hpp>
#include <linden/model/parameters.hpp>
#include <linden/model/peft_description.hpp>
#include <linden/model/weighting_rows.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace linden {

/// An adapter of the model C, whose factors are T.
template <LlamaConfiguration C, Real T>
class LlamaAdapter {
 public:
  /// Zero factors.
  explicit LlamaAdapter(AdapterDescription description)
      : description_(std::move(description)),
        memory_(static_cast<std::size_t>(AdapterFactors<C, T>::count(description_.full_ranks()))),
        factors_(memory_.data(), description_.full_ranks()) {
    std::ranges::fill(memory_.span(), T(0));
  }

  /// A random, B zero; one stream of draws for the whole adapter, in layer order.
  void initialise(Initialisation rule, std::uint64_t seed) {
    TorchUniform uniform(static_cast<std::uint32_t>(seed));
    factors_.for_each([&](const std::string&, auto view) {
      if (is_a<decltype(view)>)
        initialise_a(view.span(), static_cast<std::size_t>(view.rows()), static_cast<std::size_t>(view.columns()), rule,
                     uniform);
    });
  }

  [[nodiscard]] const AdapterDescription& description() const { return description_; }  ///< what it is, apart from its numbers
  /// A and B of every layer, views into the flat buffer
  [[nodiscard]] const AdapterFactors<C, T>& factors() const { return factors_; }
  [[nodiscard]] std::span<T> parameters() { return memory_.span(); }  ///< the flat buffer, in the order of AdapterFactors
  /// The flat buffer, in the order of AdapterFactors.
  [[nodiscard]] std::span<const T> parameters() const { return memory_.span(); }

  /// The modules this model offers to adapters.
  static std::vector<ExpectedModule> modules() {
    std::vector<ExpectedModule> list;
    AdapterFactors<C, T> shapes(nullptr, 1);
    shapes.for_each([&](const std::string& name, auto view) {
      if (is_a<decltype(view)>)
        list.push_back({.path = module_path(name), .in = view.rows(), .out = 0});
      else
        list.back().out = view.columns();
    });
    return list;
  }

  /// The prefix of rank r as an adapter of its own, without what lies beyond. Train ranks above r are dropped, so its
  /// p is that of the ranks left; an adapter that has none of them was trained at r alone, as far as the prefix can
  /// tell.
  [[nodiscard]] LlamaAdapter prefix(int r) const {
    AdapterDescription cut = description_;
    if (r < 1 || r > cut.full_rank) throw UsageError(text("rank ", r, ": the adapter has ranks 1 to ", cut.full_rank));
    const auto up_to = [](const RankSet& ranks, int rank) {
      return ranks[0] <= rank ? ranks.up_to(rank) : RankSet{rank};
    };
    cut.full_rank = r;
    cut.train_ranks = up_to(cut.train_ranks, r);
    for (auto& own : cut.own)
      if (own && own->full_rank > 0) {
        own->full_rank = std::min(own->full_rank, r);
        own->train_ranks = up_to(own->train_ranks, own->full_rank);
      }
    LlamaAdapter adapter(cut);
    for (std::size_t l = 0; l < factors_.layers.size(); ++l) {
      const auto from = factors_.layer(static_cast<long>(l), cut.full_ranks());
      for_each_leaf_pair(adapter.factors_.layers[l], from, [](auto& to, const auto& source) {
        for (long i = 0; i < to.rows(); ++i)
          for (long j = 0; j < to.columns(); ++j) to(i, j) = source(i, j);
      });
    }
    return adapter;
  }

  /// The prefix of rank r for other programs: which of the two inferences they compute, `options` say.
  [[nodiscard]] PeftAdapter peft(int r, const std::string& base_model, const PeftExport& options = {}) const {
    PeftAdapter file = peft_settings(description_, r, options);
    file.base_model = base_model;
    const auto factors_on_a = column_factors(file, options);
    AdapterFactors<C, T> factors = factors_;
    factors.for_each([&](const std::string& name, auto view) {
      const std::string path = module_path(name);
      const long rank = std::min<long>(r, is_a<decltype(view)> ? view.columns() : view.rows());
      if (is_a<decltype(view)>) {
        file.modules.push_back({.path = path, .in = view.rows(), .out = 0});
        file.modules.back().lora_a = transposed(view, view.rows(), rank, factors_on_a[module_kind(path)]);
      } else {
        file.modules.back().out = view.columns();
        file.modules.back().lora_b = transposed(view, rank, view.columns(), {});
      }
    });
    return file;
  }

  /// Writes the whole adapter as a PEFT directory, with the metadata to load it as it is.
  void save(const std::filesystem::path& directory, const std::string& base_model) const {
    PeftAdapter file = peft(description_.full_rank, base_model);
    file.metadata = peft_metadata(description_);
    save_peft(directory, file);
  }

  /// The adapter in a PEFT directory: ours, or any LoRA on projections of the model, whatever their ranks and scales.
  /// At full rank its function is the file's.
  static LlamaAdapter load(const std::filesystem::path& directory) {
    const PeftAdapter file = load_peft(directory, modules());
    LlamaAdapter adapter(peft_description(file, directory));
    std::unordered_map<std::string, const PeftModule*> module_at;
    for (const PeftModule& module : file.modules) module_at.emplace(module.path, &module);
    adapter.factors_.for_each([&](const std::string& name, auto view) {
      const auto found = module_at.find(module_path(name));
      if (found == module_at.end()) return;  // another layer has this kind; here it stays zero
      const PeftModule& module = *found->second;
      if (is_a<decltype(view)>)
        fill(view, module.lora_a, peft_unfolded_scale(file, adapter.description_, module.path));
      else
        fill(view, module.lora_b, 1);
    });
    return adapter;
  }

 private:
  template <class View>
  static constexpr bool is_a = View::shape::column_count < 0;

  /// "model.layers.0.self_attn.q_proj.lora_A" -> the module's path.
  static std::string module_path(const std::string& factor) { return factor.substr(0, factor.rfind('.')); }

  /// What multiplies the columns of every kind's A on the way into `file`; nothing: they stay bit for bit.
  [[nodiscard]] std::array<std::vector<T>, module_kinds> column_factors(const PeftAdapter& file,
                                                                        const PeftExport& options) const {
    std::array<std::vector<T>, module_kinds> factors;
    WeightingRows<T> weighting(description_);
    if (options.inference == Inference::weighted) weighting.set(static_cast<int>(file.r), options.inference);
    const ModuleRows<Bound<const T>> rows = weighting.rows().view(1);
    const ModuleRanks ranks = description_.ranks_at(static_cast<int>(file.r));
    std::size_t kind = 0;
    for_each_leaf(rows, [&](const auto& row) {
      const double fold = peft_fold(description_, file, kind, options);
      if (options.inference == Inference::weighted || fold != 1)
        for (long j = 0; j < ranks.of[kind]; ++j)
          factors[kind].push_back(static_cast<T>(fold) * (options.inference == Inference::weighted ? row(0, j) : T(1)));
      ++kind;
    });
    return factors;
  }

  /// Column by column, each times its factor.
  template <class View>
  static std::vector<float> transposed(View view, long rows, long columns, const std::vector<T>& factors) {
    std::vector<float> out;
    out.reserve(static_cast<std::size_t>(rows * columns));
    for (long j = 0; j < columns; ++j)
      for (long i = 0; i < rows; ++i)
        out.push_back(
            static_cast<float>(factors.empty() ? view(i, j) : view(i, j) * factors[static_cast<std::size_t>(j)]));
    return out;
  }

  /// A stored factor into `view`, which may be of a larger rank.
  template <class View>
  static void fill(View view, const std::vector<float>& stored, double factor) {
    const long count = static_cast<long>(stored.size());
    const long rows = is_a<View> ? view.rows() : count / view.columns(), columns = count / rows;
    for (long i = 0; i < rows; ++i)
      for (long j = 0; j < columns; ++j)
        view(i, j) = static_cast<T>(factor * static_cast<double>(stored[static_cast<std::size_t>(j * rows + i)]));
  }

  AdapterDescription description_;
  AlignedBuffer<T> memory_;
  AdapterFactors<C, T> factors_;
};

}  // namespace linden
