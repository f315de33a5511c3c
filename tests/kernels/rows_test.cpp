#define BOOST_TEST_MODULE kernels_rows
#include "../../kernels/rows.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

// Rows with ties, infinities and more columns than a block has threads: the first of the highest.
BOOST_AUTO_TEST_CASE(the_best_column_is_the_first_of_the_highest) {
  constexpr long columns = 2500;
  Values rows = Values::random(5, columns, 3);
  const auto at = [&](long row, long column) -> float& { return rows.data[static_cast<std::size_t>(row * columns + column)]; };
  at(0, 7) = at(0, 2001) = at(0, 8) = 50;
  at(1, 2499) = 50;
  for (long j = 0; j < columns; ++j) at(2, j) = -std::numeric_limits<float>::infinity();
  at(3, 1030) = at(3, 6) = std::numeric_limits<float>::infinity();
  at(4, 0) = 50;
  const auto elements = test::detail::upload(rows.data), best = test::detail::upload(std::vector<std::int32_t>(5, -1));
  cuda::best_columns(elements->as<float>(), 5, columns, best->as<std::int32_t>(), {});
  std::vector<std::int32_t> found(5);
  best->get(found.data());
  BOOST_TEST(found == (std::vector<std::int32_t>{7, 2499, 0, 6, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(rows_go_to_their_places_and_nothing_else_changes) {
  for (const long columns : {1L, 7L, 1500L}) {
    const std::vector<float> from = Values::random(3, columns, 1).data;
    std::vector<float> expected = Values::random(6, columns, 2).data;
    const std::vector<std::int32_t> places{4, 0, 5};
    const auto source = test::detail::upload(from), target = test::detail::upload(expected), where = test::detail::upload(places);
    cuda::scatter_rows(source->as<float>(), where->as<std::int32_t>(), 3, columns, target->as<float>(), {});
    for (std::size_t i = 0; i < 3; ++i)
      std::copy_n(from.begin() + static_cast<long>(i) * columns, columns, expected.begin() + places[i] * columns);
    std::vector<float> found(expected.size());
    target->get(found.data());
    BOOST_TEST((found == expected));
  }
}
