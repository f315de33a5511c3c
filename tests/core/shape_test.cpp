#define BOOST_TEST_MODULE shape
#include <linden/core/shape.hpp>
//
#include <boost/test/unit_test.hpp>

namespace {
using namespace linden;
static_assert(Shape<>::axes == 0 && Shape<>::row_count == 1 && Shape<>::column_count == 1 && Shape<>::named == 0);
static_assert(Shape<7>::axes == 1 && Shape<7>::row_count == 1 && Shape<7>::column_count == 7);
static_assert(Shape<3, 7>::axes == 2 && Shape<3, 7>::row_count == 3 && Shape<3, 7>::column_count == 7);
static_assert(Shape<tokens, 64>::named == 1 && Shape<tokens, rank>::named == 2 &&
              Shape<tokens>::column_count == tokens);
static_assert(!std::is_same_v<Shape<7>, Shape<1, 7>>);

constexpr Sizes sizes = [] {
  Sizes s;
  s.bound[0] = 5;
  return s;
}();
static_assert(sizes.of(tokens) == 5 && sizes.of(64) == 64 && sizes.of(rank) == 0);
}  // namespace

BOOST_AUTO_TEST_CASE(extents_are_printed_by_name) {
  BOOST_TEST(extent_name(64) == "64");
  BOOST_TEST(extent_name(tokens) == "tokens");
  BOOST_TEST(extent_name(sequences) == "sequences");
  BOOST_TEST(extent_name(rank) == "rank");
  BOOST_TEST(extent_name(cached) == "cached");
  BOOST_TEST(extent_name(vocabulary) == "vocabulary");
  BOOST_TEST(extent_name(any_columns) == "any_columns");
  BOOST_TEST(extent_name(own_extent) == "extent-8");
}
