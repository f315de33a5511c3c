#define BOOST_TEST_MODULE executor
#include <linden/backend/executor.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/ops/product.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, 3>>;
using W = Expr<Shape<3, 2>>;

template <class Mode>
struct Linear {
  typename Mode::template tensor<Shape<3, 2>> weight{"weight"};
  typename Mode::template tensor<Shape<2>> bias{"bias"};
};
constexpr auto linear = [](X x, Linear<Symbolic> w) { return x * w.weight + w.bias; };

void refused(auto call, const std::string& message) {
  BOOST_CHECK_EXCEPTION(call(), ShapeError, [&](const ShapeError& e) {
    BOOST_TEST(e.what() == message);
    return true;
  });
}
}  // namespace

// ---- sizes that disagree --------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(sizes_that_disagree_are_named) {
  constexpr auto add = [](X x, X y) { return x + y; };
  auto x = random_tensor<Shape<tokens, 3>>(1, 5);
  auto y = random_tensor<Shape<tokens, 3>>(2, 4);
  refused([&] { compile(add)(x, y); }, "linden: argument 1, axis 0 (tokens): bound 4, expected 5");
  y.named("hidden");
  refused([&] { compile(add)(x, y); }, "linden: argument 1 (hidden), axis 0 (tokens): bound 4, expected 5");
  // The first argument decides, also when it is empty.
  refused([&] { compile(add)(random_tensor<Shape<tokens, 3>>(1, 0), y); },
          "linden: argument 1 (hidden), axis 0 (tokens): bound 4, expected 0");
}

BOOST_AUTO_TEST_CASE(numbers_of_a_shape_are_checked_for_views_of_any_size) {
  auto w = random_tensor<Shape<3, 2>>(1);
  const auto x = random_tensor<Shape<tokens, 3>>(1, 5);
  const auto short_rows = TensorView<double, Shape<3, 2>>::strided(w.data(), 3, 1, 2).named("projection");
  refused([&] { compile([](X a, W b) { return a * b; })(x, short_rows); },
          "linden: argument 1 (projection), axis 1: bound 1, expected 2");
}

BOOST_AUTO_TEST_CASE(results_are_checked_too) {
  constexpr auto twice = [](X x) { return 2.0 * x; };
  const auto x = random_tensor<Shape<tokens, 3>>(1, 5);
  Tensor<double, Shape<tokens, 3>> y(6);
  Workspace<double> workspace;
  refused([&] { evaluate_into<decltype(twice)>(workspace, y.named("y"), x); },
          "linden: result 0 (y), axis 0 (tokens): bound 6, expected 5");
  for (const double e : y.span()) BOOST_TEST(e == 0);  // nothing was written
}

BOOST_AUTO_TEST_CASE(members_of_records_go_by_their_names) {
  auto weight = random_tensor<Shape<3, 2>>(1);
  Linear<Bound<double>> w;
  w.weight = weight.view().named("weight");
  refused([&] { compile(linear)(random_tensor<Shape<tokens, 3>>(1, 2), w); },
          "linden: argument 1 (bias), axis 0: bound 0, expected 1");
  w.bias = TensorView<double, Shape<2>>::strided(nullptr, 1, 2, 2).named("bias");
  refused([&] { compile(linear)(random_tensor<Shape<tokens, 3>>(1, 2), w); },
          "linden: argument 1 (bias) is not bound to memory");
}

BOOST_AUTO_TEST_CASE(ids_must_be_contiguous) {
  std::vector<std::int32_t> ids(8);
  const auto apart = TensorView<std::int32_t, Shape<sequences, 4>>::strided(ids.data(), 1, 4, 8);
  refused(
      [&] { compile([](X x, Ids<Shape<sequences, 4>>) { return x; })(random_tensor<Shape<tokens, 3>>(1, 2), apart); },
      "linden: rows of ids must be contiguous");
}

// ---- arguments and results ------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(records_are_arguments_and_results) {
  auto weight = random_tensor<Shape<3, 2>>(1);
  auto bias = random_tensor<Shape<2>>(2);
  Linear<Bound<double>> w;
  w.weight = weight.view();
  w.bias = bias.view();
  const auto x = random_tensor<Shape<tokens, 3>>(3, 4);
  const auto y = compile(linear)(x, w);
  for (long i = 0; i < 4; ++i)
    for (long j = 0; j < 2; ++j)
      BOOST_TEST(std::abs(y(i, j) - (x(i, 0) * weight(0, j) + x(i, 1) * weight(1, j) + x(i, 2) * weight(2, j) +
                                     bias[j])) < 1e-15);
  expect_gradient(linear, x, w);
  const auto g = random_tensor<Shape<tokens, 2>>(4, 4);
  const auto gradient = vjp<1>(linear)(x, w, g);  // a record that owns its memory
  for (long j = 0; j < 2; ++j) BOOST_TEST(std::abs(gradient.bias[j] - (g(0, j) + g(1, j) + g(2, j) + g(3, j))) < 1e-15);
  BOOST_TEST(gradient.weight.rows() == 3);
}

BOOST_AUTO_TEST_CASE(a_record_alone_tells_the_element_type) {
  Linear<Bound<float>> w;
  Tensor<float, Shape<3, 2>> weight;
  Tensor<float, Shape<2>> bias;
  bias[1] = 3;
  w.weight = weight.view();
  w.bias = bias.view();
  const auto y = compile([](Linear<Symbolic> r) { return r.weight + r.bias; })(w);
  static_assert(std::is_same_v<decltype(y), const Tensor<float, Shape<3, 2>>>);
  BOOST_TEST(y(2, 1) == 3);
}

BOOST_AUTO_TEST_CASE(results_into_strided_views_of_the_caller) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 2);
  const auto w = random_tensor<Shape<3, 2>>(2);
  std::vector<double> wide(10, 7.0);
  const auto y = TensorView<double, Shape<tokens, 2>>::strided(wide.data() + 1, 2, 2, 5);
  Workspace<double> workspace;
  using F = decltype([](X a, W b) { return a * b; });
  evaluate_into<F>(workspace, y, x, w);
  const auto expected = compile(F{})(x, w);
  for (long i = 0; i < 2; ++i)
    for (long j = 0; j < 2; ++j) BOOST_TEST(y(i, j) == expected(i, j));
  for (const std::size_t outside : {0U, 3U, 4U, 5U, 8U, 9U}) BOOST_TEST(wide[outside] == 7);
}

BOOST_AUTO_TEST_CASE(accumulating_some_results_and_not_others) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 2);
  Tensor<double, Shape<tokens, 3>> a(2), b(2);
  Workspace<double> workspace;
  using F = decltype([](X t) { return std::tuple(t + t, transpose(transpose(t))); });
  for (int round = 0; round < 3; ++round) evaluate_into<F>(workspace, std::tuple(a.view(), Accumulate{b.view()}), x);
  for (long i = 0; i < 6; ++i) {
    BOOST_TEST(a[i] == 2 * x[i]);
    BOOST_TEST(std::abs(b[i] - 3 * x[i]) < 1e-15);
  }
}

BOOST_AUTO_TEST_CASE(accumulating_one_of_the_results_of_a_loop) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 2), y = random_tensor<Shape<tokens, 3>>(2, 2);
  Tensor<double, Shape<tokens, 3>> sum(2), difference(2);
  Workspace<double> workspace;
  using F = decltype([](X a, X b) { return std::tuple(a + b, a - b); });
  for (int round = 0; round < 3; ++round)
    evaluate_into<F>(workspace, std::tuple(Accumulate{sum.view()}, difference.view()), x, y);
  for (long i = 0; i < 6; ++i) {
    BOOST_TEST(std::abs(sum[i] - 3 * (x[i] + y[i])) < 1e-14);
    BOOST_TEST(difference[i] == x[i] - y[i]);
  }
}

// ---- a user's own operations ----------------------------------------------------------------------------------------

namespace {
/// Elementwise, with its own derivative: x^4.
struct FourthPower {
  static constexpr const char* name = "fourth_power";
  static constexpr int arity = 1;
  template <class T>
  static T element(T x) {
    return x * x * x * x;
  }
  static constexpr void vjp(Vjp& v) {
    const Value x = v.input(0);
    v.gradient(0,
               symbolic::hadamard(v.upstream(), symbolic::scale(4.0, symbolic::hadamard(x, symbolic::hadamard(x, x)))));
  }
};
template <class S>
constexpr Expr<S> fourth_power(Expr<S> x) {
  return Expr<S>(symbolic::map<FourthPower>(x));
}

/// A kernel with two results: the sum and the sum of squares of every row.
struct Moments {
  static constexpr const char* name = "moments";
  static constexpr int arity = 1;
  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>& x = call.inputs[0];
    for (long i = 0; i < x.rows; ++i) {
      T sum = 0, squares = 0;
      for (long j = 0; j < x.columns; ++j) sum += x.row(i)[j], squares += x.row(i)[j] * x.row(i)[j];
      if (call.results[0].data != nullptr) *call.results[0].row(i) = sum;
      if (call.results[1].data != nullptr) *call.results[1].row(i) = squares;
    }
  }
  static constexpr void vjp(Vjp& v) {
    const Node& x = symbolic::node(v.input(0));
    Value total = symbolic::zeros(*v.graph, x.rows, x.columns);
    if (v.has_upstream(0)) total = symbolic::add(total, v.upstream(0));
    if (v.has_upstream(1))
      total = symbolic::add(total, symbolic::scale(2.0, symbolic::hadamard(v.input(0), v.upstream(1))));
    v.gradient(0, total);
  }
};
template <long M, long N>
constexpr auto moments(Expr<Shape<M, N>> x) {
  const Value sum = symbolic::apply<Moments>(M, 1, {}, x);
  return std::tuple(Expr<Shape<M, 1>>(sum), Expr<Shape<M, 1>>(symbolic::result(sum, 1, M, 1)));
}
}  // namespace

BOOST_AUTO_TEST_CASE(an_own_elementwise_operation) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 4);
  constexpr auto f = [](X t) { return fourth_power(t) + t; };
  static_assert(plan_of<decltype(f)>.step_count == 1, "it fuses with its neighbours");
  const auto y = compile(f)(x);
  for (long i = 0; i < 12; ++i) BOOST_TEST(std::abs(y[i] - (std::pow(x[i], 4) + x[i])) < 1e-15);
  expect_gradient(f, x);
  expect_gradient(vjp<0>(f), x, random_tensor<Shape<tokens, 3>>(2, 4));
}

BOOST_AUTO_TEST_CASE(an_own_kernel_with_two_results) {
  const auto x = random_tensor<Shape<tokens, 3>>(1, 4);
  const auto [sum, squares] = compile([](X t) { return moments(t); })(x);
  for (long i = 0; i < 4; ++i) {
    BOOST_TEST(std::abs(sum[i] - (x(i, 0) + x(i, 1) + x(i, 2))) < 1e-15);
    BOOST_TEST(std::abs(squares[i] - (x(i, 0) * x(i, 0) + x(i, 1) * x(i, 1) + x(i, 2) * x(i, 2))) < 1e-15);
  }
  expect_gradient(
      [](X t) {
        const auto [a, b] = moments(t);
        return hadamard(a, exp(b));
      },
      x);
  expect_gradient([](X t) { return std::get<0>(moments(t)); }, x);
  expect_gradient([](X t) { return std::get<1>(moments(exp(t))); }, x);
}
