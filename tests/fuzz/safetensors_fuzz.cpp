// A safetensors file: what is accepted lies inside the file, without holes, and can be written and read again.
#include <linden/io/safetensors.hpp>

#include "fuzz/fuzz.hpp"

namespace {
using namespace linden;

/// All tensors of a file.
std::vector<StoredTensor> tensors_of(const SafeTensors& file) {
  std::vector<StoredTensor> tensors;
  for (const auto& name : file.names()) tensors.push_back(file.entry(name));
  return tensors;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::FuzzFolder folder("model.safetensors");
  const auto read = [](const std::filesystem::path& file) { return SafeTensors(file); };
  return folder.offer(data, size, read, [&](const SafeTensors& file) {
    const auto tensors = tensors_of(file);
    std::size_t bytes = 0;
    for (const auto& tensor : tensors) {
      bytes += tensor.bytes.size();
      std::vector<float> values(tensor.bytes.size() * 8 / dtype_bits(tensor.dtype));
      try {
        file.read<float>(tensor.name, tensor.shape, values);
      } catch (const DataError&) {  // whole numbers are not converted
      }
    }
    test::expect(bytes + 8 <= size, text("tensors inside the file of ", size, " bytes, found ", bytes));
    const auto again = folder.folder() / "again.safetensors";
    write_safetensors(again, tensors, file.metadata());
    const SafeTensors rewritten(again);
    test::expect(rewritten.names() == file.names() && rewritten.metadata() == file.metadata(), "the same tensors when they are written and read again");
    for (const auto& tensor : tensors)
      test::expect(std::ranges::equal(rewritten.entry(tensor.name).bytes, tensor.bytes), text("the bytes of ", tensor.name));
  });
}
