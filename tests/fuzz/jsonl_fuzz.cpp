// JSON lines of training data.
#include <linden/data/dataset.hpp>

#include "fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace linden;
  static const test::FuzzFolder folder("train.jsonl");
  const auto read = [](const std::filesystem::path& file) { return read_jsonl(file); };
  return folder.offer(data, size, read, [](const std::vector<Example>& examples) {
    test::expect(!examples.empty(), "one row or more");
    for (std::size_t i = 0; i < examples.size(); ++i) {
      test::expect(examples[i].row == static_cast<long>(i), "rows that count from 0");
      test::expect(examples[i].kind == examples[0].kind, "rows of one kind");
    }
  });
}
