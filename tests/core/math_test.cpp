#define BOOST_TEST_MODULE math
#include <linden/core/math.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/last_place.hpp"

namespace {
namespace math = linden::math;
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Of e^x.
double units(float x) { return linden::test::units_in_the_last_place(math::exp(x), std::exp(static_cast<double>(x))); }
}  // namespace

BOOST_AUTO_TEST_CASE(exp_is_within_two_units_in_the_last_place) {
  double worst = 0;
  for (float x = -86.9F; x <= 88; x += 0.000731F) worst = std::max(worst, units(x));
  for (float x = -1e-3F; x <= 1e-3F; x += 1.7e-7F) worst = std::max(worst, units(x));
  BOOST_TEST(worst < 2);
  BOOST_TEST(worst > 0.5);  // it is an approximation: a worst case below would mean that nothing was measured
}

BOOST_AUTO_TEST_CASE(ends_of_the_range) {
  BOOST_TEST(math::exp(0.0F) == 1);
  BOOST_TEST(math::exp(-0.0F) == 1);
  BOOST_TEST(units(88.7F) < 16);
  BOOST_TEST(math::exp(89.0F) == infinity);
  BOOST_TEST(math::exp(infinity) == infinity);
  BOOST_TEST(math::exp(1e30F) == infinity);
  BOOST_TEST(math::exp(-88.0F) == 0);
  BOOST_TEST(math::exp(-infinity) == 0);
  BOOST_TEST(std::isnan(math::exp(std::numeric_limits<float>::quiet_NaN())));
}

BOOST_AUTO_TEST_CASE(in_double_it_is_the_library_function) {
  BOOST_TEST(math::exp(1.25) == std::exp(1.25));
  BOOST_TEST(math::exp(-800.0) == 0);
}

BOOST_AUTO_TEST_CASE(tanh_keeps_its_relative_accuracy_near_zero) {
  double worst = 0;
  for (float x = -12; x < 12; x += 0.000731F) {
    const double exact = std::tanh(double(x));
    worst = std::max(worst, std::abs(double(math::tanh(x)) - exact) / std::abs(exact));
  }
  BOOST_TEST(worst < 1e-6);
  BOOST_TEST(math::tanh(1e-6F) == 1e-6F);
  BOOST_TEST(math::tanh(100.0F) == 1);
  BOOST_TEST(math::tanh(-100.0F) == -1);
}

BOOST_AUTO_TEST_CASE(sigmoid_saturates) {
  BOOST_TEST(math::sigmoid(0.0F) == 0.5F);
  BOOST_TEST(math::sigmoid(200.0F) == 1);
  BOOST_TEST(math::sigmoid(-200.0F) == 0);
  BOOST_TEST(math::sigmoid(-1000.0) == 0);
  BOOST_TEST(std::abs(math::sigmoid(1.5F) - 0.817574476F) < 1e-7F);
}
