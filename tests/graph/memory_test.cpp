#define BOOST_TEST_MODULE memory
#include <linden/graph/memory.hpp>
//
#include <boost/test/unit_test.hpp>

namespace {
using namespace linden;
using linden::detail::FirstFit;

static_assert(Extent::of(tokens, 64).columns == 64 && Extent::of(tokens, 64).first == tokens);
static_assert(Extent::of(64, rank).columns == 64 && Extent::of(64, rank).first == rank);
static_assert(Extent::of(tokens, rank).columns == 1 && Extent::of(tokens, rank).same_pool(Extent::of(rank, tokens)));
static_assert(!Extent::of(tokens, rank).same_pool(Extent::of(tokens, 3)));
static_assert(!Extent::of(tokens, 3).same_pool(Extent::of(rank, 3)));
static_assert(Extent::of(tokens, tokens).first == tokens && Extent::of(tokens, tokens).second == tokens);
static_assert(Extent::of(3, 5).columns == 16, "numbers alone are rounded up to whole cache lines");
static_assert(Extent::of(1, 17).columns == 32 && Extent::of(1, 1).columns == 16);

constexpr Sizes sizes = [] {
  Sizes s;
  s.bound[static_cast<std::size_t>(-tokens - 1)] = 17;
  s.bound[static_cast<std::size_t>(-rank - 1)] = 3;
  return s;
}();
static_assert(Extent::of(tokens, 64).column_size(sizes) == 32 && Extent::of(tokens, rank).column_size(sizes) == 64);
static_assert(Extent::of(2, 3).column_size(sizes) == 1);

constexpr Pools pools = [] {
  Pools p;
  p.pool(Extent::of(tokens, 5)).columns = 5;
  p.pool(Extent::of(2, 3)).columns = 16;
  p.pool(Extent::of(rank, tokens)).columns = 2;
  p.pool(Extent::of(tokens, 9)).columns += 9;  // the pool that exists
  return p;
}();
static_assert(pools.count == 3);
static_assert(pools.columns_per(tokens) == 14 && pools.columns_per(0) == 16);
static_assert(pools.columns_per(tokens, rank) == 2 && pools.columns_per(rank, tokens) == 2 &&
              pools.columns_per(rank) == 0);
static_assert(pools.elements(sizes) == 14 * 32 + 16 + 2 * 64);
static_assert(pools.position(Extent::of(tokens, 1), 3, sizes) == 3 * 32);
static_assert(pools.position(Extent::of(1, 1), 0, sizes) == 14 * 32);
static_assert(pools.position(Extent::of(tokens, rank), 1, sizes) == 14 * 32 + 16 + 64);

constexpr Extent wide = Extent::of(tokens, 8), narrow = Extent::of(tokens, 2), fixed = Extent::of(4, 4);
constexpr bool first_fit() {
  FirstFit memory;
  if (memory.place(wide, 0, 2) != 0) return false;    // [0, 8) until step 2
  if (memory.place(narrow, 1, 5) != 8) return false;  // beside it
  if (memory.place(fixed, 1, 5) != 0) return false;   // another pool
  if (memory.place(wide, 2, 3) != 10) return false;   // step 2 still needs the first
  if (memory.place(narrow, 3, 4) != 0) return false;  // its place is free again
  if (memory.place(wide, 4, 4) != 10) return false;   // too wide for the gap [2, 8)
  if (memory.place(narrow, 4, 9) != 2) return false;  // fits the gap
  memory.extend(wide, 30, 6, 7);
  return memory.pools().columns_per(tokens) == 38 && memory.pools().columns_per(0) == 16 &&
         memory.place(Extent::of(tokens, 40), 7, 7) == 38;
}
static_assert(first_fit());
}  // namespace

BOOST_AUTO_TEST_CASE(too_many_pools_are_refused) {
  Pools full;
  for (long name = 1; name <= Pools::capacity; ++name) full.pool(Extent::of(-name, 1));
  BOOST_TEST(full.count == Pools::capacity);
  BOOST_CHECK_THROW(full.pool(Extent::of(-Pools::capacity - 1, 1)), const char*);
  full.pool(Extent::of(-3, 7)).columns = 7;
  BOOST_TEST(full.columns_per(-3) == 7);
}
