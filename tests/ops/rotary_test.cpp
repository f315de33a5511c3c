#define BOOST_TEST_MODULE rotary
#include <linden/ops/rotary.hpp>
//
#include <boost/test/unit_test.hpp>
#include <numbers>
#include <numeric>

#include "support/expect_gradient.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;

template <class T>
struct Tables {
  Tensor<T, Shape<tokens, any_columns>> cosine, sine;
};
template <class T>
Tables<T> angles(const std::vector<std::int32_t>& positions, long head_size, double theta, RotaryScaling scaling = {}) {
  const long half = head_size / 2, n = long(positions.size());
  using Table = Tensor<T, Shape<tokens, any_columns>>;
  Tables<T> tables{Table(n, half), Table(n, half)};
  rotary_angles<T>(positions, head_size, theta, scaling, tables.cosine.data(), tables.sine.data());
  return tables;
}

constexpr auto turn = [](Expr<Shape<tokens, 16>> x, Frozen<Expr<Shape<tokens, 4>>> cosine,
                         Frozen<Expr<Shape<tokens, 4>>> sine) {
  return rotary<8>(x, Expr<Shape<tokens, 4>>(cosine), Expr<Shape<tokens, 4>>(sine));
};
template <class T>
auto columns4(const Tensor<T, Shape<tokens, any_columns>>& table) {
  return TensorView<const T, Shape<tokens, 4>>(table.data(), table.rows());
}

template <class T>
void check_golden(double tolerance) {
  const auto g = golden("ops.json").at("rope");
  const auto shape = g.at("inputs").at("x").at("shape").template get<std::vector<long>>();  // [T, heads, head size]
  BOOST_REQUIRE_EQUAL(shape.at(0) * shape.at(1) * shape.at(2), 80);
  const long d = shape.at(2);
  std::vector<std::int32_t> positions(std::size_t(shape.at(0)));
  std::iota(positions.begin(), positions.end(), 0);
  const auto [cosine, sine] = angles<T>(positions, d, g.at("params").at("theta").template get<double>());
  std::vector<T> x, dy;
  for (const auto& e : g.at("inputs").at("x").at("data")) x.push_back(e.template get<T>());
  for (const auto& e : g.at("dy")) dy.push_back(e.template get<T>());
  const long columns = shape.at(1) * d;
  Call<T> call;
  std::vector<T> y(80), dx(80);
  call.inputs[0] = {.data = x.data(), .rows = shape.at(0), .columns = columns, .stride = columns};
  call.inputs[1] = {.data = const_cast<T*>(cosine.data()), .rows = shape.at(0), .columns = d / 2, .stride = d / 2};
  call.inputs[2] = {.data = const_cast<T*>(sine.data()), .rows = shape.at(0), .columns = d / 2, .stride = d / 2};
  call.results[0] = {.data = y.data(), .rows = shape.at(0), .columns = columns, .stride = columns};
  call.attributes = {double(d), 1.0};
  Rotary::cpu(call);
  BOOST_TEST(relative_l2(y, g.at("y").at("data").template get<std::vector<double>>()) < tolerance);
  call.inputs[0].data = dy.data();
  call.results[0].data = dx.data();
  call.attributes = {double(d), -1.0};
  Rotary::cpu(call);
  BOOST_TEST(relative_l2(dx, g.at("grads").at("x").template get<std::vector<double>>()) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_values_in_double) { check_golden<double>(1e-10); }
BOOST_AUTO_TEST_CASE(golden_values_in_float) { check_golden<float>(1e-5); }

BOOST_AUTO_TEST_CASE(element_i_turns_with_element_i_plus_half) {
  for (const auto& positions : {std::vector<std::int32_t>{}, {5}, {0, 1, 2, 0, 1}}) {
    const long n = long(positions.size());
    const auto x = random_tensor<Shape<tokens, 16>>(1, n);
    const auto [c, s] = angles<double>(positions, 8, 100);
    const auto y = compile(turn)(x, columns4(c), columns4(s));
    for (long t = 0; t < n; ++t)
      for (long head = 0; head < 2; ++head)
        for (long i = 0; i < 4; ++i) {
          const double angle = double(positions[std::size_t(t)]) * std::pow(100.0, -2.0 * double(i) / 8);
          const double a = x(t, 8 * head + i), b = x(t, 8 * head + i + 4);
          BOOST_TEST(std::abs(y(t, 8 * head + i) - (a * std::cos(angle) - b * std::sin(angle))) < 1e-14);
          BOOST_TEST(std::abs(y(t, 8 * head + i + 4) - (b * std::cos(angle) + a * std::sin(angle))) < 1e-14);
        }
  }
}

BOOST_AUTO_TEST_CASE(gradient) {
  const auto [c, s] = angles<double>({0, 1, 2, 0, 7}, 8, 100);
  Tensor<double, Shape<tokens, 4>> cosine(5), sine(5);
  std::ranges::copy(c.span(), cosine.span().begin());
  std::ranges::copy(s.span(), sine.span().begin());
  expect_gradient(turn, random_tensor<Shape<tokens, 16>>(1, 5), cosine, sine);
}

// Frequencies of Llama 3.1 and 3.2: which are kept, blended and divided, and sample values.
BOOST_AUTO_TEST_CASE(llama3_scaling) {
  struct Case {
    long head_size;
    double factor;
    std::vector<std::pair<long, double>> samples;
    long kept, blended;  ///< the first so many pairs; the next so many
  };
  const std::vector<Case> cases{
      {64,
       32,
       {{0, 1},
        {1, 0.663601238},
        {14, 3.21144599e-3},
        {15, 1.29054793e-3},
        {16, 4.29556797e-4},
        {17, 9.70828780e-5},
        {18, 1.94616382e-5},
        {31, 9.41830673e-8}},
       15,
       3},
      {128,
       8,
       {{1, 0.814617234},
        {28, 3.21144599e-3},
        {29, 2.16657076e-3},
        {32, 5.24846161e-4},
        {34, 1.78507813e-4},
        {35, 9.55621235e-5},
        {63, 3.06892599e-7}},
       29,
       6},
      {128,
       32,
       {{29, 2.11840700e-3}, {32, 4.29556797e-4}, {34, 9.70828780e-5}, {35, 2.38905309e-5}, {63, 7.67231497e-8}},
       29,
       6}};
  for (const Case& c : cases) {
    const RotaryScaling scaling{c.factor, 1, 4, 8192};
    for (const auto& [i, expected] : c.samples)
      BOOST_TEST(relative_error(double(rotary_frequency(i, c.head_size, 500000, scaling)), expected) < 3e-7);
    for (long i = 0; i < c.head_size / 2; ++i) {
      const double plain = double(rotary_frequency(i, c.head_size, 500000, {}));
      const double ratio = plain / double(rotary_frequency(i, c.head_size, 500000, scaling));
      if (i < c.kept)
        BOOST_TEST(ratio == 1);
      else if (i < c.kept + c.blended)
        BOOST_TEST((ratio > 1.001 && ratio < 0.999 * c.factor));
      else
        BOOST_TEST(std::abs(ratio / c.factor - 1) < 1e-6);
    }
  }
}

BOOST_AUTO_TEST_CASE(angles_in_double_use_exact_frequencies_with_scaling_too) {
  const RotaryScaling scaling{32, 1, 4, 8192};
  const auto [c, s] = angles<double>({1}, 64, 500000, scaling);
  for (long i = 0; i < 32; ++i) {
    const double plain = std::pow(500000.0, -2.0 * double(i) / 64), wavelength = 2 * std::numbers::pi / plain;
    const double blend = std::clamp((8192 / wavelength - 1) / 3, 0.0, 1.0);
    BOOST_TEST(std::abs(s(0, i) - std::sin((1 - blend) * plain / 32 + blend * plain)) < 1e-15);
  }
}
