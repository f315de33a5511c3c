#define BOOST_TEST_MODULE closed_form
#include <linden/adapter/closed_form.hpp>
//
#include <linden/backend/executor.hpp>

#include "adapter/golden_layer.hpp"

namespace {
using namespace linden;
using namespace linden::test;

// What differentiation finds is the closed form, expression by expression; for a rank the compiler knows and one it
// does not.
template <long R>
constexpr bool proven() {
  using C = ClosedForm<6, 5, R>;
  using Rows = typename C::Rows;
  static_assert(same(vjp<2>(typename C::Layer{}), typename C::GradientA{}));  // equation 12
  static_assert(same(vjp<4>(typename C::Layer{}), typename C::GradientB{}));  // equation 13
  static_assert(same(vjp<0>(typename C::Layer{}), typename C::GradientX{}));
  static_assert(same(vjp<2>(typename Rows::Layer{}), typename Rows::GradientA{}));
  static_assert(same(vjp<4>(typename Rows::Layer{}), typename Rows::GradientB{}));
  static_assert(same(vjp<0>(typename Rows::Layer{}), typename Rows::GradientX{}));
  static_assert(
      !same(vjp<2>(typename C::Layer{}), [](typename C::Input x, typename C::Weight, typename C::FactorA,
                                            typename C::Weights, typename C::FactorB B, typename C::Output G) {
        return transpose(x) * (G * transpose(B));  // p forgotten
      }));
  return true;
}
static_assert(proven<8>() && proven<rank>());

using Layer = ClosedForm<6, 5, 8>;

template <class T>
void check_golden() {
  const GoldenLayer<T> g;
  const Tensor<T, Shape<6, 5>> W = transposed<Shape<6, 5>>(g.W);
  for (const auto& c : g.file.at("train_cases")) {
    const auto p = matrix<T, Shape<8>>(nlohmann::json::array({c.at("p")}));
    const auto y = compile(Layer::Layer{})(g.x, W, g.A, p, g.B);
    check_close(y, c.at("y"));
    check_close(compile(Layer::GradientA{})(g.x, W, g.A, p, g.B, g.G), c.at("dA"));
    check_close(compile(Layer::GradientB{})(g.x, W, g.A, p, g.B, g.G), c.at("dB"));
    check_close(compile(Layer::GradientX{})(g.x, W, g.A, p, g.B, g.G), c.at("dx"));
    const auto [dx, dA, dB] = vjp<0, 2, 4>(Layer::Layer{})(g.x, W, g.A, p, g.B, g.G);
    check_close(dx, c.at("dx"));
    check_close(dA, c.at("dA"));
    check_close(dB, c.at("dB"));
  }
}

/// Equation 4 against equation 7: the golden cases were computed with the diagonal.
template <RankSet Ranks, Scaling Mode, class T>
void check_nested_sum(const GoldenLayer<T>& g) {
  using Sum = Layer::NestedSum<Ranks, Mode>;
  const Tensor<T, Shape<6, 5>> W = transposed<Shape<6, 5>>(g.W);
  const auto y = compile(Sum{})(g.x, W, g.A, g.B);
  const auto [dx, dA, dB] = vjp<0, 2, 3>(Sum{})(g.x, W, g.A, g.B, g.G);
  int compared = 0;
  for (const auto& c : g.file.at("train_cases")) {
    if (c.at("adapter") != "matryoshka_diag" || c.at("scaling") != std::string(to_string(Mode)) ||
        c.at("train_ranks").template get<std::vector<int>>() != std::vector<int>(Ranks.begin(), Ranks.end()))
      continue;
    ++compared;
    check_close(y, c.at("y"));
    check_close(dx, c.at("dx"));
    check_close(dA, c.at("dA"));
    check_close(dB, c.at("dB"));
  }
  BOOST_TEST(compared == 1);
}
}  // namespace

BOOST_AUTO_TEST_CASE(golden_cases_in_double) { check_golden<double>(); }
BOOST_AUTO_TEST_CASE(golden_cases_in_float) { check_golden<float>(); }

BOOST_AUTO_TEST_CASE(sum_over_nested_ranks_is_the_diagonal) {
  const GoldenLayer<double> g;
  check_nested_sum<RankSet{1, 2, 4, 8}, Scaling::none>(g);
  check_nested_sum<RankSet{1, 2, 4, 8}, Scaling::sqrt>(g);
  check_nested_sum<RankSet{2, 3, 8}, Scaling::rank>(g);
  check_nested_sum<RankSet{1, 4}, Scaling::sqrt>(g);  // ends below R: zero gradients beyond rank 4
  check_nested_sum<RankSet{1, 2, 4, 8}, Scaling::rank>(GoldenLayer<float>());
}

BOOST_AUTO_TEST_CASE(masks_keep_what_is_inside) {
  const auto masked =
      compile([](Expr<Shape<3, 4>> a, Expr<Shape<4, 3>> b) { return std::tuple(mask_columns(a, 2), mask_rows(b, 2)); });
  Tensor<double, Shape<3, 4>> a;
  Tensor<double, Shape<4, 3>> b;
  for (long i = 0; i < 12; ++i) a[i] = b[i] = static_cast<double>(i + 1);
  const auto [columns, rows] = masked(a, b);
  for (long i = 0; i < 3; ++i)
    for (long j = 0; j < 4; ++j) {
      BOOST_TEST(columns(i, j) == (j < 2 ? a(i, j) : 0.0));
      BOOST_TEST(rows(j, i) == (j < 2 ? b(j, i) : 0.0));
    }
}

BOOST_AUTO_TEST_CASE(exact_worked_example) {
  using Small = ClosedForm<2, 2, 2>;
  Tensor<double, Shape<tokens, 2>> x(1), G(1);
  Tensor<double, Shape<2, 2>> W, A, B;
  Tensor<double, Shape<2>> p;
  const auto set = [](auto& tensor, std::initializer_list<double> values) {
    std::ranges::copy(values, tensor.span().begin());
  };
  set(x, {1, -1});
  set(A, {1, 2, 3, 4});
  set(B, {1, 0, 0, 1});
  set(p, {2, 1});
  set(G, {1, 2});
  const auto is = [](const auto& found, std::initializer_list<double> expected) {
    BOOST_CHECK_EQUAL_COLLECTIONS(found.span().begin(), found.span().end(), expected.begin(), expected.end());
  };
  is(compile(Small::Layer{})(x, W, A, p, B), {-4, -2});
  const auto [dx, dA, dB] = vjp(Small::Layer{})(x, W, A, p, B, G);
  is(dA, {2, 2, -2, -2});
  is(dB, {-4, -8, -2, -4});
  is(dx, {6, 14});
}

BOOST_AUTO_TEST_CASE(untrained_adapter_moves_only_b) {  // B = 0: dA = 0 and dx = G W^T
  const GoldenLayer<double> g;
  const Tensor<double, Shape<6, 5>> W = transposed<Shape<6, 5>>(g.W);
  const Tensor<double, Shape<8, 5>> zero;
  Tensor<double, Shape<8>> p;
  matryoshka_weights(p.span(), RankSet{1, 2, 4, 8}, Scaling::none);
  const auto [dx, dA, dB] = vjp(Layer::Layer{})(g.x, W, g.A, p, zero, g.G);
  for (const double d : dA.span()) BOOST_TEST(d == 0);
  BOOST_TEST(std::ranges::any_of(dB.span(), [](double d) { return d != 0; }));
  for (long t = 0; t < 4; ++t)
    for (long i = 0; i < 6; ++i) {
      double expected = 0;
      for (long o = 0; o < 5; ++o) expected += g.G(t, o) * W(i, o);
      BOOST_TEST(std::abs(dx(t, i) - expected) < 1e-14);
    }
}
