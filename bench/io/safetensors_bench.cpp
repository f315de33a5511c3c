// Opening a safetensors file and reading its weights as float: GB/s of the file, which lies in the page cache.
//   build/release/bin/bench/io_safetensors
#include <unistd.h>

#include <filesystem>
#include <linden/io/safetensors.hpp>
#include <vector>

#include "rate.hpp"

namespace {
using namespace linden;

constexpr std::uint64_t tensors = 16, elements = 1U << 24U;

/// Half a gigabyte in bfloat16, removed in the end.
struct WeightsFile {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("linden_bench_" + std::to_string(::getpid()) + ".safetensors");

  WeightsFile() {
    const std::vector<bfloat16> values(elements, bfloat16(1.5F));
    std::vector<StoredTensor> list;
    for (std::uint64_t k = 0; k < tensors; ++k)
      list.push_back(stored_tensor("layer." + std::to_string(k), {elements / 2048, 2048}, std::span(values)));
    write_safetensors(path, list);
  }
  ~WeightsFile() { std::filesystem::remove(path); }
};

void load(benchmark::State& state) {
  const WeightsFile file;
  std::vector<float> values(elements);
  for (auto _ : state) {
    const SafeTensors opened(file.path);
    for (std::uint64_t k = 0; k < tensors; ++k)
      opened.read("layer." + std::to_string(k), {elements / 2048, 2048}, std::span(values));
    benchmark::ClobberMemory();
  }
  bench::set_rate(state, "GB/s read", 2.0 * tensors * elements);
}
}  // namespace

BENCHMARK(load)->Name("safetensors/load_bfloat16_as_float")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_MAIN();
