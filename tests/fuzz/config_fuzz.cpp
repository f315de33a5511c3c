// config.json: what is accepted can be written, and read again as the same.
#include <linden/io/hf_config.hpp>

#include "fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace linden;
  static const test::FuzzFolder folder("config.json");
  const auto read = [](const std::filesystem::path& file) { return read_hf_config(file); };
  return folder.offer(data, size, read, [](const HfConfig& config) {
    const auto again = folder.folder() / "again.json";
    write_hf_config(again, config);
    test::expect(read_hf_config(again) == config, "the same configuration when it is written and read again");
    (void)read_eos_ids(folder.folder());
  });
}
