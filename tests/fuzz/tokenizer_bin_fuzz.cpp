// tokenizer.bin.
#include "fuzz/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const linden::test::FuzzFolder folder("tokenizer.bin");
  return linden::test::offer_tokenizer(folder, data, size);
}
