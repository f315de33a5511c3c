// A PEFT directory's adapter_config.json, beside weights of rank 2 for two modules; nothing outside the directory is looked at.
#include <linden/io/peft.hpp>

#include "fuzz/fuzz.hpp"

namespace {
using namespace linden;

const std::vector<ExpectedModule> offered{{"model.layers.0.self_attn.q_proj", 4, 4}, {"model.layers.0.mlp.down_proj", 8, 4}};

/// The configuration's folder, with weights.
class Adapter : public test::FuzzFolder {
 public:
  Adapter() : FuzzFolder("adapter_config.json") {
    PeftAdapter adapter{.r = 2, .targets = {.names = {"q_proj", "down_proj"}}};
    for (const auto& [path, in, out] : offered) {
      const auto ones = [](long size) { return std::vector<float>(static_cast<std::size_t>(size), 1); };
      adapter.modules.push_back({path, in, out, ones(2 * in), ones(2 * out)});
    }
    save_peft(folder(), adapter);
  }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Adapter folder;
  const auto read = [](const std::filesystem::path&) { return load_peft(folder.folder(), offered); };
  return folder.offer(data, size, read, [](const PeftAdapter& adapter) {
    for (const auto& module : adapter.modules) {
      const long rank = adapter.rank(module.path);
      test::expect(module.lora_a.size() == static_cast<std::size_t>(rank * module.in), "lora_a [r, in]");
      test::expect(module.lora_b.size() == static_cast<std::size_t>(rank * module.out), "lora_b [out, r]");
      test::expect(std::isfinite(adapter.scale(module.path)), "a finite scale");
    }
  });
}
