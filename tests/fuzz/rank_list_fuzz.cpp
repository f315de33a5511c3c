// Rank lists as command lines give them: what is accepted is strictly ascending, and prints as a list that is read as the same.
#include <linden/adapter/rank_set.hpp>

#include "fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace linden;
  try {
    const RankSet ranks = RankSet::parse({reinterpret_cast<const char*>(data), size});
    test::expect(ranks.size() >= 1 && ranks[0] >= 1, "positive ranks");
    for (std::size_t i = 1; i < ranks.size(); ++i) test::expect(ranks[i] > ranks[i - 1], "ascending ranks");
    test::expect(RankSet::parse(to_string(ranks)) == ranks, "the same ranks when they are printed and read again");
  } catch (const UsageError& error) {
    test::expect(std::string_view(error.what()).starts_with("rank set"), text("a message of the rank set, found ", error.what()));
  }
  return 0;
}
