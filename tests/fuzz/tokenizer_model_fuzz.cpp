// tokenizer.model: SentencePiece's and tiktoken's, told apart by their first byte.
#include "fuzz/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const linden::test::FuzzFolder folder("tokenizer.model");
  return linden::test::offer_tokenizer(folder, data, size);
}
