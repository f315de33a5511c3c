#define BOOST_TEST_MODULE examples_statistics
#include "support/statistics.hpp"

#include <boost/test/unit_test.hpp>
#include <vector>

#include "io/temporary_folder.hpp"

using linden::examples::statistic_of;

BOOST_AUTO_TEST_CASE(mean_and_sample_deviation) {
  const std::vector<double> values{2, 4, 4, 4, 5, 5, 7, 9};
  BOOST_TEST(statistic_of(values).mean == 5.0);
  BOOST_TEST(statistic_of(values).deviation == std::sqrt(32.0 / 7), boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(equal_and_close_values_keep_their_digits) {
  const std::vector<double> equal{0.4, 0.4, 0.4}, close{1e9 + 1, 1e9 + 2, 1e9 + 3};
  BOOST_TEST(statistic_of(equal).deviation < 1e-15);
  BOOST_TEST(statistic_of(close).mean == 1e9 + 2);
  BOOST_TEST(statistic_of(close).deviation == 1.0);
}

BOOST_AUTO_TEST_CASE(one_value_has_no_deviation_and_none_no_mean) {
  const std::vector<double> one{0.25};
  BOOST_TEST(statistic_of(one).mean == 0.25);
  BOOST_TEST(std::isnan(statistic_of(one).deviation));
  linden::test::expect_refusal<linden::UsageError>([] { (void)statistic_of({}); }, "there are no values");
}
