#define BOOST_TEST_MODULE kernels_reduce
#include "../../kernels/reduce.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// x to [rows, columns]. The mean is 1, so that sums do not cancel.
template <class Operation>
void expect_joined(Values x, long rows, long columns) {
  for (float& value : x.data) value += 1;
  expect_as_cpu<Operation>({{x}, {Values::result(rows, columns, rows > 1 ? 2 : 0)}});
}

/// x to a column, a row and one number.
template <class Operation>
void expect_joined(const Values& x) {
  expect_joined<Operation>(x, x.rows, 1);
  expect_joined<Operation>(x, 1, x.columns);
  expect_joined<Operation>(x, 1, 1);
}

}  // namespace

BOOST_AUTO_TEST_CASE(sums) {
  for (const long rows : {1L, 2L, 31L, 70L})
    for (const long columns : {1L, 8L, 33L, 264L})
      for (const long gap : {0L, 3L, 8L}) expect_joined<SumTo>(Values::random(rows, columns, 1, 1, gap));
  expect_joined<SumTo>(Values::random(3, 1100, 1));
}

BOOST_AUTO_TEST_CASE(long_sums) {  // many pieces, of more than one pack or row a thread
  for (const long columns : {1L, 3L}) {
    expect_joined<SumTo>(Values::random(9000, 3, 2), 1, columns);
    expect_joined<SumTo>(Values::random(9000, 3, 2, 1, 1), 1, columns);
  }
  expect_joined<SumTo>(Values::random(1, 40007, 3), 1, 1);
  expect_joined<SumTo>(Values::random(2, 9000, 3), 2, 1);
  expect_as_cpu<SumTo, float>({{Values::random(1, 1100000, 3)}, {Values::result(1, 1)}}, 1e-4);  // the sum cancels
}

BOOST_AUTO_TEST_CASE(maxima) {
  for (const long rows : {1L, 2L, 65L})
    for (const long columns : {1L, 33L, 264L})
      for (const long gap : {0L, 3L}) expect_joined<MaxTo>(Values::random(rows, columns, 1, 1, gap));
  Values low = Values::random(70, 40, 2);
  for (float& value : low.data) value -= 100;
  expect_joined<MaxTo>(low);
}

BOOST_AUTO_TEST_CASE(of_no_rows) {
  expect_as_cpu<SumTo>({{Values::random(0, 5, 1)}, {Values::result(1, 5)}});
  expect_as_cpu<SumTo>({{Values::random(0, 5, 1)}, {Values::result(1, 1)}});
  expect_as_cpu<SumTo>({{Values::random(0, 5, 1)}, {Values::result(0, 1)}});
  for (const long columns : {1L, 5L}) {
    Case c{{Values::random(0, 5, 1)}, {Values::result(1, columns)}};
    const auto found = test::detail::on_device<MaxTo, float>(c);
    for (const float value : found[0]) BOOST_TEST(value == -std::numeric_limits<float>::infinity());
  }
}

BOOST_AUTO_TEST_CASE(a_maximum_keeps_what_is_not_a_number) {
  for (const std::size_t place : {0UL, 37UL, 70UL * 40 - 1}) {
    Values x = Values::random(70, 40, 3);
    x.data[place] = std::numeric_limits<float>::quiet_NaN();
    for (const auto& [rows, columns] : {std::pair{70L, 1L}, std::pair{1L, 40L}, std::pair{1L, 1L}}) {
      const auto found = test::detail::on_device<MaxTo, float>({{x}, {Values::result(rows, columns)}})[0];
      for (std::size_t k = 0; k < found.size(); ++k) {
        const bool meets = (rows == 1 || k == place / 40) && (columns == 1 || k == place % 40);
        BOOST_TEST(std::isnan(found[k]) == meets);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(inverse_counts) {
  for (const double over_rows : {0.0, 1.0})
    for (const double over_columns : {0.0, 1.0})
      expect_as_cpu<InverseCount>({{Values::random(3, 7, 1)}, {Values::result(1, 1)}, {over_rows, over_columns}});
}

BOOST_AUTO_TEST_CASE(transposes) {
  for (const long rows : {0L, 1L, 31L, 64L, 100L})
    for (const long columns : {1L, 32L, 33L, 129L})
      for (const long gap : {0L, 3L})
        expect_as_cpu<Transpose>(
            {{Values::random(rows, columns, 1, 1, gap)}, {Values::result(columns, rows, 2 * gap)}});
}
