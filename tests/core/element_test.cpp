#define BOOST_TEST_MODULE element
#include <linden/core/element.hpp>
// (first: it must stand alone)
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/golden.hpp"

using namespace linden;

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);
static_assert(Real<float> && Real<double> && !Real<bfloat16> && !Real<int>);
static_assert(Element<float16> && Element<std::int32_t> && !Element<long double> && !Element<std::int64_t>);
static_assert(float(bfloat16(1.0F)) == 1.0F && bfloat16(1.0F).bits == 0x3f80);
static_assert(float(float16(-2.0F)) == -2.0F && float16(-2.0F).bits == 0xc000);
static_assert(bfloat16(0.0F) == bfloat16(-0.0F) && float16(0.0F) == float16(-0.0F));

namespace {

template <class Half>
Half from_bits(unsigned bits) {
  Half half;
  half.bits = static_cast<std::uint16_t>(bits);
  return half;
}

template <class Half>
void check_rounding(const char* column) {
  const auto json = linden::test::golden("half_bits.json");
  const auto& inputs = json["float32_bits"];
  BOOST_REQUIRE_EQUAL(inputs.size(), json[column].size());
  BOOST_REQUIRE_GT(inputs.size(), 30U);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto value = std::bit_cast<float>(inputs[i].get<std::uint32_t>());
    BOOST_TEST_CONTEXT("value " << value) BOOST_TEST(Half(value).bits == json[column][i].get<unsigned>());
  }
}

// Widening is exact, so narrowing again must give the same bits; only a NaN may change its payload.
template <class Half>
void check_round_trip(unsigned exponent_mask, unsigned fraction_mask) {
  for (unsigned bits = 0; bits <= 0xffffU; ++bits) {
    const auto wide = static_cast<float>(from_bits<Half>(bits));
    const bool is_nan = (bits & exponent_mask) == exponent_mask && (bits & fraction_mask) != 0;
    if (std::isnan(wide) != is_nan) BOOST_ERROR("NaN gained or lost at " << bits);
    const unsigned back = Half(wide).bits;
    if (is_nan) {
      if (!std::isnan(static_cast<float>(from_bits<Half>(back))) || ((back ^ bits) & 0x8000U) != 0)
        BOOST_ERROR("NaN " << bits << " came back as " << back);
    } else if (back != bits) {
      BOOST_ERROR(bits << " came back as " << back);
    }
  }
}

// Every float half-way between two neighbours must go to the even one, its float neighbours to the nearer one.
template <class Half>
void check_ties(unsigned largest_finite) {
  for (unsigned bits = 0; bits < largest_finite; ++bits) {
    const float low = from_bits<Half>(bits);
    const float high = from_bits<Half>(bits + 1);
    const float middle = static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
    const unsigned even = (bits & 1U) == 0 ? bits : bits + 1;
    const bool right = Half(middle).bits == even && Half(std::nextafter(middle, low)).bits == bits &&
                       Half(std::nextafter(middle, high)).bits == bits + 1 && Half(-middle).bits == (even | 0x8000U);
    if (!right) BOOST_ERROR("between " << bits << " and its neighbour");
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(element)

BOOST_AUTO_TEST_CASE(bfloat16_rounds_as_the_golden_values) { check_rounding<bfloat16>("bfloat16_bits"); }
BOOST_AUTO_TEST_CASE(float16_rounds_as_the_golden_values) { check_rounding<float16>("float16_bits"); }
BOOST_AUTO_TEST_CASE(every_bfloat16_survives_float) { check_round_trip<bfloat16>(0x7f80U, 0x7fU); }
BOOST_AUTO_TEST_CASE(every_float16_survives_float) { check_round_trip<float16>(0x7c00U, 0x3ffU); }
BOOST_AUTO_TEST_CASE(bfloat16_ties_go_to_even) { check_ties<bfloat16>(0x7f7fU); }
BOOST_AUTO_TEST_CASE(float16_ties_go_to_even) { check_ties<float16>(0x7bffU); }

BOOST_AUTO_TEST_CASE(float16_values_follow_the_definition) {
  for (unsigned bits = 0; bits < 0x7c00U; ++bits) {
    const int exponent = static_cast<int>(bits >> 10U);
    const double fraction = static_cast<double>(bits & 0x3ffU) / 1024;
    const double value = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    if (static_cast<double>(from_bits<float16>(bits)) != value) BOOST_ERROR("value of " << bits);
  }
}

BOOST_AUTO_TEST_CASE(overflow_becomes_infinity) {
  constexpr float largest = std::numeric_limits<float>::max();
  BOOST_TEST(bfloat16(largest).bits == 0x7f80);
  BOOST_TEST(bfloat16(-largest).bits == 0xff80);
  BOOST_TEST(float16(65519.996F).bits == 0x7bff);  // the last value below the half-way point
  BOOST_TEST(float16(65520.0F).bits == 0x7c00);
  BOOST_TEST(float16(-largest).bits == 0xfc00);
}

BOOST_AUTO_TEST_SUITE_END()
