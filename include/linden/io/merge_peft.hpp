#pragma once
/// \file
/// A LoRA adapter merged into its base model: a Hugging Face checkpoint with W + scale * lora_B lora_A in place of
/// every adapted W, which any program loads without knowing of adapters. Tensors are computed and written one by one:
/// memory for the largest is enough. Sums are made in double and rounded once, to the type of the base model or the
/// one asked for.
/// Shapes  W [out, in], lora_A [r, in], lora_B [out, r].
/// Errors  DataError when the checkpoint lacks a module or it has another shape or a type that is not floating-point,
///         and when what was written is not what it should be.
/// Source  github.com/huggingface/peft, LoraLayer.get_delta_weight; transformers, sharded checkpoints.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <linden/core/parallel.hpp>
#include <linden/io/hf_weights.hpp>
#include <linden/io/peft.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace linden {

/// How a merged model is written.
struct MergeOptions {
  std::optional<Dtype> dtype{};               ///< of all tensors; nothing: each keeps its own
  std::uint64_t shard_bytes = 5'000'000'000;  ///< files are cut where they would be larger
};

namespace detail {

/// Calls visit(T{}) with the floating-point type stored as `dtype`; false when there is none.
template <class Visit>
bool visit_floating(Dtype dtype, Visit&& visit) {
  switch (dtype) {
    case Dtype::F32:
      return visit(float{}), true;
    case Dtype::F64:
      return visit(double{}), true;
    case Dtype::BF16:
      return visit(bfloat16{}), true;
    case Dtype::F16:
      return visit(float16{}), true;
    default:
      return false;
  }
}

/// Base model and adapter, and every merged tensor of the two.
class MergedWeights {
 public:
  MergedWeights(const std::filesystem::path& model, const PeftAdapter& adapter, std::optional<Dtype> dtype)
      : base_(model), adapter_(adapter), dtype_(dtype) {
    for (const PeftModule& module : adapter.modules) add(module);
    for (const std::string& name : base_.names())
      if (changes(name) && !visit_floating(base_.entry(name).dtype, [](auto) {}))
        throw DataError(text(model.string(), ": tensor '", name, "': found dtype ", dtype_name(base_.entry(name).dtype),
                             ", expected F32, F64, BF16 or F16"));
  }

  [[nodiscard]] const HfWeights& base() const { return base_; }
  [[nodiscard]] std::vector<std::string> names() const { return base_.names(); }
  [[nodiscard]] Dtype dtype(const std::string& name) const { return dtype_.value_or(base_.entry(name).dtype); }
  [[nodiscard]] bool is_adapted(const std::string& name) const { return module_of_.contains(name); }
  /// False for tensors that are copied.
  [[nodiscard]] bool changes(const std::string& name) const {
    return is_adapted(name) || dtype(name) != base_.entry(name).dtype;
  }
  [[nodiscard]] std::uint64_t bytes(const std::string& name) const {
    const StoredTensor& tensor = base_.entry(name);
    return tensor.bytes.size() * 8 / dtype_bits(tensor.dtype) * dtype_bits(dtype(name)) / 8;
  }

  /// The merged tensor as it is stored.
  void compute(const std::string& name, std::span<std::byte> out) const {
    const StoredTensor& tensor = base_.entry(name);
    const auto found = module_of_.find(name);
    const PeftModule* const module = found == module_of_.end() ? nullptr : found->second;
    const double scale = module == nullptr ? 0 : adapter_.scale(module->path);
    const long columns = tensor.shape.empty() ? 1 : static_cast<long>(tensor.shape.back());
    const std::size_t in_row = static_cast<std::size_t>(columns) * dtype_bits(tensor.dtype) / 8;
    const std::size_t out_row = static_cast<std::size_t>(columns) * dtype_bits(dtype(name)) / 8;
    const long rank = module == nullptr ? 0 : adapter_.rank(module->path);
    if (in_row == 0) return;
    parallel_for(static_cast<long>(tensor.bytes.size() / in_row), columns * (rank + 1), [&](long first, long last) {
      std::vector<double> row(static_cast<std::size_t>(columns));
      for (long o = first; o < last; ++o) {
        const auto at = static_cast<std::size_t>(o);
        (void)convert(tensor.dtype, tensor.bytes.subspan(at * in_row, in_row), std::span(row));
        for (long j = 0; j < rank; ++j) add_row(row, *module, scale, o, j, rank);
        store(row, dtype(name), out.subspan(at * out_row, out_row));
      }
    });
  }

 private:
  void add(const PeftModule& module) {
    const std::string name = module.path + ".weight";
    const std::vector<std::uint64_t> expected{static_cast<std::uint64_t>(module.out),
                                              static_cast<std::uint64_t>(module.in)};
    const StoredTensor& tensor = base_.entry(name);
    if (tensor.shape != expected)
      throw DataError(text(base_.path().string(), ": tensor '", name, "': found shape ", shown(tensor.shape),
                           ", expected ", shown(expected), ", the adapter's"));
    module_of_.emplace(name, &module);
  }

  /// row += scale * lora_B(o, j) * row j of lora_A.
  static void add_row(std::span<double> row, const PeftModule& module, double scale, long o, long j, long rank) {
    const double factor = scale * static_cast<double>(module.lora_b[static_cast<std::size_t>(o * rank + j)]);
    const float* const a = module.lora_a.data() + j * module.in;
    for (std::size_t i = 0; i < row.size(); ++i) row[i] += factor * static_cast<double>(a[i]);
  }

  static void store(std::span<const double> row, Dtype dtype, std::span<std::byte> out) {
    visit_floating(dtype, [&]<class T>(T) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        const T value = element_cast<T>(row[i]);
        std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
      }
    });
  }

  HfWeights base_;
  const PeftAdapter& adapter_;
  std::optional<Dtype> dtype_;
  std::unordered_map<std::string, const PeftModule*> module_of_;
};

/// Names of the tensors of each file, none larger than `limit` unless one tensor is.
[[nodiscard]] inline std::vector<std::vector<std::string>> shards_of(const MergedWeights& weights,
                                                                     std::uint64_t limit) {
  std::vector<std::vector<std::string>> shards(1);
  std::uint64_t filled = 0;
  for (const std::string& name : weights.names()) {
    if (filled > 0 && filled + weights.bytes(name) > limit) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(name);
    filled += weights.bytes(name);
  }
  return shards;
}

inline void write_shard(const std::filesystem::path& file, const MergedWeights& weights,
                        std::span<const std::string> names) {
  std::uint64_t largest = 0;
  for (const std::string& name : names)
    if (weights.changes(name)) largest = std::max(largest, weights.bytes(name));
  std::vector<std::byte> scratch(static_cast<std::size_t>(largest));  // one tensor at a time
  std::vector<StoredTensor> tensors;
  for (const std::string& name : names) {
    StoredTensor tensor = weights.base().entry(name);
    tensor.dtype = weights.dtype(name);
    if (weights.changes(name)) tensor.bytes = std::span(scratch).first(static_cast<std::size_t>(weights.bytes(name)));
    tensors.push_back(tensor);
  }
  write_safetensors(file, tensors, {{"format", "pt"}}, [&](const StoredTensor& tensor) {
    if (weights.changes(tensor.name)) weights.compute(tensor.name, std::span(scratch).first(tensor.bytes.size()));
    return tensor.bytes;
  });
}

inline void write_merged_weights(const std::filesystem::path& directory, const MergedWeights& weights,
                                 std::uint64_t limit) {
  const auto shards = shards_of(weights, limit);
  if (shards.size() == 1) return write_shard(directory / "model.safetensors", weights, shards[0]);
  nlohmann::json index{{"metadata", {{"total_size", 0}}}, {"weight_map", nlohmann::json::object()}};
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    std::array<char, 64> file{};
    std::snprintf(file.data(), file.size(), "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    write_shard(directory / file.data(), weights, shards[i]);
    for (const std::string& name : shards[i]) {
      index["weight_map"][name] = file.data();
      total += weights.bytes(name);
    }
  }
  index["metadata"]["total_size"] = total;
  write_json(directory / "model.safetensors.index.json", index);
}

/// True for the files beside the weights that belong to a model: settings, tokenizer, licence.
[[nodiscard]] inline bool belongs_to_model(const std::string& name) {
  constexpr std::array<std::string_view, 10> beginnings{
      "generation_config", "tokenizer",     "tok512", "special_tokens_map",
      "added_tokens",      "chat_template", "vocab",  "merges",
      "LICENSE",           "USE_POLICY"};
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](std::string_view part) { return name.starts_with(part); });
}

/// Copies what is not weights; config.json changes in the name of the type alone, where that is another.
inline void copy_model_files(const std::filesystem::path& from, const std::filesystem::path& to,
                             std::optional<Dtype> dtype) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(from))
    if (entry.is_regular_file() && belongs_to_model(entry.path().filename().string())) {
      std::filesystem::copy_file(entry.path(), to / entry.path().filename(), error);
      if (error)
        throw DataError(text(entry.path().string(), ": cannot be copied to ", to.string(), ": ", error.message()));
    }
  const MappedFile config(from / "config.json");
  if (!dtype) return write_atomically(to / "config.json", config.characters());
  auto json = nlohmann::ordered_json::parse(config.characters());
  const char* const name = *dtype == Dtype::BF16 ? "bfloat16" : *dtype == Dtype::F16 ? "float16" : "float32";
  json[json.contains("dtype") ? "dtype" : "torch_dtype"] = name;
  write_atomically(to / "config.json", std::string_view(json.dump(2) + "\n"));
}

}  // namespace detail

/// Writes `model` with `adapter` merged into it as the new model directory `output`, which appears whole or not at
/// all; an empty directory may be in its place.
inline void merge_peft(const std::filesystem::path& model, const PeftAdapter& adapter,
                       const std::filesystem::path& output, const MergeOptions& options = {}) {
  const detail::MergedWeights weights(model, adapter, options.dtype);
  detail::make_directory_atomically(output, [&](const std::filesystem::path& place) {
    detail::write_merged_weights(place, weights, options.shard_bytes);
    detail::copy_model_files(model, place, options.dtype);
  });
}

namespace detail {

[[nodiscard]] inline double element(const StoredTensor& tensor, long at) {
  const std::size_t size = dtype_bits(tensor.dtype) / 8;
  double value = 0;
  (void)convert(tensor.dtype, tensor.bytes.subspan(static_cast<std::size_t>(at) * size, size), std::span(&value, 1));
  return value;
}

/// Sums one element of every row again; they must agree to the rounding of their type.
inline void check_merged_module(const StoredTensor& base, const StoredTensor& merged, const PeftModule& module,
                                double scale, const std::string& where) {
  const bool is_half = merged.dtype == Dtype::F16;
  const double precision = merged.dtype == Dtype::BF16 ? 0x1p-8 : is_half ? 0x1p-11 : 0x1p-23;
  const long rank = static_cast<long>(module.lora_a.size()) / module.in;
  for (long o = 0; o < module.out; ++o) {
    const long i = (o * 7919) % module.in;
    double update = 0, size = 0;
    for (long j = 0; j < rank; ++j) {
      const double term = scale * static_cast<double>(module.lora_b[static_cast<std::size_t>(o * rank + j)]) *
                          static_cast<double>(module.lora_a[static_cast<std::size_t>(j * module.in + i)]);
      update += term;
      size += std::abs(term);
    }
    const double found = element(merged, o * module.in + i), expected = element(base, o * module.in + i) + update;
    const double tolerance = precision * std::abs(expected) + 1e-12 * size + (is_half ? 0x1p-25 : 0);
    if (!(std::abs(found - expected) <= tolerance))
      throw DataError(text(where, " has ", found, " at [", o, ", ", i, "], expected ", expected));
  }
}

/// A tensor without adapter must be the base model's.
inline void check_copied(const StoredTensor& merged, const MergedWeights& weights, const std::string& where) {
  std::vector<std::byte> converted;
  std::span<const std::byte> expected = weights.base().entry(merged.name).bytes;
  if (weights.changes(merged.name)) {
    converted.resize(static_cast<std::size_t>(weights.bytes(merged.name)));
    weights.compute(merged.name, converted);
    expected = converted;
  }
  if (!std::equal(expected.begin(), expected.end(), merged.bytes.begin(), merged.bytes.end()))
    throw DataError(text(where, " is not the base model's"));
}

}  // namespace detail

/// Reads back what merge_peft wrote and compares it with model and adapter.
/// \throw DataError naming the first tensor that differs.
inline void check_merged(const std::filesystem::path& model, const PeftAdapter& adapter,
                         const std::filesystem::path& output, const MergeOptions& options = {}) {
  const detail::MergedWeights weights(model, adapter, options.dtype);
  const HfWeights merged(output);
  if (merged.names() != weights.names())
    throw DataError(text(output.string(), ": holds other tensors than ", model.string()));
  const auto where = [&](const std::string& name) { return text(output.string(), ": tensor '", name, "'"); };
  for (const std::string& name : weights.names()) {
    const StoredTensor& found = merged.entry(name);
    if (found.dtype != weights.dtype(name) || found.shape != weights.base().entry(name).shape)
      throw DataError(text(where(name), " has another type or shape"));
    if (!weights.is_adapted(name)) detail::check_copied(found, weights, where(name));
  }
  for (const PeftModule& module : adapter.modules) {
    const std::string name = module.path + ".weight";
    detail::check_merged_module(weights.base().entry(name), merged.entry(name), module, adapter.scale(module.path),
                                where(name));
  }
}

}  // namespace linden
