#define BOOST_TEST_MODULE packet
#include <linden/ops/packet.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "support/last_place.hpp"

namespace {
using namespace linden;

/// e^x through a packet whose other lanes hold something else.
template <class T>
T exp_of(T x, long lane = 0) {
  alignas(64) T lanes[detail::packet_size<T>];
  std::fill_n(lanes, detail::packet_size<T>, T(3));
  lanes[lane] = x;
  Eigen::internal::pstore(lanes, detail::exp_packet<T>(Eigen::internal::pload<detail::Packet<T>>(lanes)));
  return lanes[lane];
}

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Of e^x.
double units(float x) { return linden::test::units_in_the_last_place(exp_of(x), std::exp(static_cast<double>(x))); }
}  // namespace

BOOST_AUTO_TEST_CASE(exp_is_within_two_units_in_the_last_place) {
  double worst = 0;
  for (float x = -86.9F; x <= 88; x += 0.000731F) worst = std::max(worst, units(x));
  for (float x = -1e-3F; x <= 1e-3F; x += 1.7e-7F) worst = std::max(worst, units(x));
  BOOST_TEST(worst < 2);
  BOOST_TEST(worst > 0.5);
}

BOOST_AUTO_TEST_CASE(ends_of_the_range) {
  for (long lane = 0; lane < detail::packet_size<float>; ++lane) {
    BOOST_TEST(exp_of(0.0F, lane) == 1);
    BOOST_TEST(exp_of(-0.0F, lane) == 1);
    BOOST_TEST(exp_of(89.0F, lane) == infinity);
    BOOST_TEST(exp_of(infinity, lane) == infinity);
    BOOST_TEST(exp_of(1e30F, lane) == infinity);
    BOOST_TEST(exp_of(-88.0F, lane) == 0);
    BOOST_TEST(exp_of(-infinity, lane) == 0);
    BOOST_TEST(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN(), lane)));
  }
  BOOST_TEST(units(88.7F) < 16);
}

BOOST_AUTO_TEST_CASE(in_double_it_is_the_library_function) {
  for (const double x : {1.25, -0.5, -800.0, 0.0}) BOOST_TEST(exp_of(x) == std::exp(x));
}

BOOST_AUTO_TEST_CASE(a_packet_of_bfloat16_is_widened) {
  std::vector<bfloat16> halves(static_cast<std::size_t>(detail::packet_size<float>));
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = bfloat16(1.5F * static_cast<float>(i) - 4);
  alignas(64) float lanes[detail::packet_size<float>];
  Eigen::internal::pstore(lanes, detail::load_packet<float>(halves.data()));
  for (std::size_t i = 0; i < halves.size(); ++i) BOOST_TEST(lanes[i] == static_cast<float>(halves[i]));
}
