#pragma once
/// \file
/// What the targets of the tokenizer formats share: a tokenizer that was accepted encodes and decodes any text.

#include <linden/data/tokenizer.hpp>
#include <linden/data/utf8.hpp>

#include "fuzz/fuzz.hpp"

namespace linden::test {

/// Offers an input as the tokenizer file `name`.
inline int offer_tokenizer(const FuzzFolder& folder, const std::uint8_t* data, std::size_t size) {
  const auto read = [](const std::filesystem::path& file) { return Tokenizer::load(file); };
  return folder.offer(data, size, read, [](const Tokenizer& tokenizer) {
    using namespace std::string_view_literals;
    for (const std::string_view probe : {"Question: Tom has 12 apples.\n"sv, "\xC3\xA9\xFF\0<s></s>  it's"sv}) {
      std::vector<std::int32_t> ids;
      try {
        ids = tokenizer.encode(probe, true);
      } catch (const DataError&) {  // the file's regular expression gives up on the text
        continue;
      }
      for (const std::int32_t id : ids) expect(id >= 0 && static_cast<std::size_t>(id) < tokenizer.size(), "ids of the vocabulary");
      expect(is_utf8(tokenizer.decode(ids, false)), "a decoded text that is UTF-8");
    }
    for (const std::int32_t id : {tokenizer.bos(), tokenizer.eos()}) expect(!tokenizer.token(id).empty(), "bos and eos in the vocabulary");
  });
}

}  // namespace linden::test
