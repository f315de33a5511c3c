#define BOOST_TEST_MODULE initialise
#include <linden/adapter/initialise.hpp>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

using namespace linden;

BOOST_AUTO_TEST_CASE(bounds_of_both_rules) {
  BOOST_CHECK_CLOSE(initialisation_bound(Initialisation::reference, 2048, 32), 0.1767767, 1e-4);
  BOOST_TEST(initialisation_bound(Initialisation::reference, 14336, 256) == 0.0625);
  BOOST_CHECK_CLOSE(initialisation_bound(Initialisation::peft, 2048, 32), 0.0220971, 1e-3);
  BOOST_TEST(initialisation_bound(Initialisation::peft, 4096, 256) == 0.015625);
}

BOOST_AUTO_TEST_CASE(entries_fill_the_interval_evenly) {
  for (const auto rule : {Initialisation::reference, Initialisation::peft}) {
    const std::size_t in = 400;
    const std::size_t R = 16;
    std::vector<float> A(in * R);
    TorchUniform random(3);
    initialise_a(std::span(A), in, R, rule, random);
    const double b = initialisation_bound(rule, in, R);
    double sum = 0;
    double squares = 0;
    double largest = 0;
    for (const float a : A) {
      sum += a;
      squares += double(a) * double(a);
      largest = std::max(largest, std::abs(double(a)));
    }
    const double n = static_cast<double>(in * R);
    BOOST_TEST(largest <= b * (1 + 1e-6));
    BOOST_TEST(largest > 0.995 * b);
    BOOST_CHECK_SMALL(sum / n, 4.0 * b / std::sqrt(3.0 * n));
    BOOST_CHECK_SMALL(squares / n / (b * b) - 1.0 / 3.0, 4.0 * std::sqrt(4.0 / 45.0 / n));
  }
}

BOOST_AUTO_TEST_CASE(layers_share_one_stream) {
  std::vector<double> whole(24);
  TorchUniform once(9);
  initialise_a(std::span(whole), 6, 4, Initialisation::reference, once);
  std::vector<double> halves(24);
  TorchUniform twice(9);
  initialise_a(std::span(halves).first(8), 2, 4, Initialisation::reference, twice);
  initialise_a(std::span(halves).last(16), 4, 4, Initialisation::reference, twice);
  BOOST_CHECK_EQUAL_COLLECTIONS(halves.begin(), halves.end(), whole.begin(), whole.end());
  TorchUniform raw(9);
  for (const double a : whole) BOOST_TEST(a == double(raw(-0.5F, 0.5F)));
}

BOOST_AUTO_TEST_CASE(refusals) {
  std::vector<float> A(7);
  TorchUniform random(0);
  const auto says = [](std::string part) {
    return [part](const Error& e) { return std::string(e.what()).find(part) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(initialise_a(std::span(A), 4, 2, Initialisation::peft, random), ShapeError,
                        says("[in, R] = [4, 2]: expected 8 elements, found 7"));
  BOOST_CHECK_EXCEPTION(initialise_a(std::span(A), 4, 0, Initialisation::peft, random), UsageError,
                        says("both sizes must be positive"));
  BOOST_CHECK_EXCEPTION((void)parse_initialisation("zeros"), UsageError,
                        says("initialisation \"zeros\" is unknown; expected one of: reference, peft"));
  for (const char* name : {"reference", "peft"}) BOOST_TEST(to_string(parse_initialisation(name)) == name);
}
