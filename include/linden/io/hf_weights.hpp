#pragma once
/// \file
/// The weights of a Hugging Face model directory as one set of named tensors, whether they lie in `model.safetensors`
/// or in shards listed by `model.safetensors.index.json` (which wins when both are there).
/// Errors  DataError naming the file, the tensor, found and expected. An index that names a missing file or a tensor
/// its
///         file does not hold, or a file outside the directory, is refused before anything is read.
/// Source  github.com/huggingface/transformers, sharded checkpoints.

#include <cstdint>
#include <filesystem>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <linden/io/safetensors.hpp>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace linden {

/// All tensors of a model directory; the interface of SafeTensors.
class HfWeights {
 public:
  /// Maps and validates every weight file of `directory`.
  explicit HfWeights(std::filesystem::path directory) : directory_(std::move(directory)) {
    const auto index = directory_ / "model.safetensors.index.json";
    const auto single = directory_ / "model.safetensors";
    if (file_exists(index)) {
      open_shards(index);
    } else if (file_exists(single)) {
      files_.emplace_back(single);
      for (const auto& name : files_[0].names()) file_of_.emplace(name, 0);
    } else {
      throw DataError(text(directory_.string(), ": holds neither model.safetensors nor model.safetensors.index.json"));
    }
  }

  [[nodiscard]] const std::filesystem::path& path() const { return directory_; }  ///< the checkpoint's directory

  /// Names of all tensors, ascending.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& [name, file] : file_of_) list.push_back(name);
    return list;
  }
  /// Whether there is a tensor of this name.
  [[nodiscard]] bool contains(const std::string& name) const { return file_of_.contains(name); }

  /// Type, shape and bytes of a tensor that must be there.
  [[nodiscard]] const StoredTensor& entry(const std::string& name) const { return file_holding(name).entry(name); }

  /// Copies a tensor of shape `expected_shape` to `out`; see SafeTensors::read.
  template <Element T>
  void read(const std::string& name, const std::vector<std::uint64_t>& expected_shape, std::span<T> out) const {
    file_holding(name).read(name, expected_shape, out);
  }

 private:
  [[nodiscard]] const SafeTensors& file_holding(const std::string& name) const {
    const auto at = file_of_.find(name);
    if (at == file_of_.end()) throw DataError(text(directory_.string(), ": tensor '", name, "' is missing"));
    return files_[at->second];
  }

  void open_shards(const std::filesystem::path& index) {
    const auto json = read_json(index);
    const auto map = JsonObject(json, index.string()).object("weight_map");
    std::map<std::string, std::size_t> number_of;
    for (const auto& tensor : map.keys()) {
      const auto file = map.string(tensor);
      if (file.empty() || file == "." || file == ".." ||
          file.find_first_of(std::string("/\\\0", 3)) != std::string::npos)
        map.fail(tensor, "the plain name of a file in the same directory");
      const auto [at, is_new] = number_of.emplace(file, files_.size());
      if (is_new) files_.emplace_back(directory_ / file);
      (void)files_[at->second].entry(tensor);  // throws when the shard lacks the tensor
      file_of_.emplace(tensor, at->second);
    }
  }

  std::filesystem::path directory_;
  std::vector<SafeTensors> files_;
  std::map<std::string, std::size_t> file_of_;  // tensor -> index into files_
};

}  // namespace linden
