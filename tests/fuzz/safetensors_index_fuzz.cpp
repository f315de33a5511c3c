// model.safetensors.index.json beside two shards; a third file, outside the folder, must never be opened.
#include <linden/io/hf_weights.hpp>

#include "fuzz/fuzz.hpp"

namespace {
using namespace linden;

/// The index's folder, with shards a.safetensors (x, y) and b.safetensors (z).
class Shards : public test::FuzzFolder {
 public:
  Shards() : FuzzFolder("model.safetensors.index.json") {
    const std::vector<float> values{1, 2, 3, 4};
    const auto tensor = [&](const char* name) { return stored_tensor<float>(name, {2, 2}, values); };
    write_safetensors(folder() / "a.safetensors", std::vector{tensor("x"), tensor("y")});
    write_safetensors(folder() / "b.safetensors", std::vector{tensor("z")});
  }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Shards folder;
  const auto read = [](const std::filesystem::path&) { return HfWeights(folder.folder()); };
  return folder.offer(data, size, read, [](const HfWeights& weights) {
    for (const auto& name : weights.names()) {
      std::vector<float> values(4);
      weights.read<float>(name, {2, 2}, values);
      test::expect(name == "x" || name == "y" || name == "z", "tensors of the two shards, found " + name);
      test::expect(values[3] == 4, "the tensor's values");
    }
  });
}
