#pragma once
/// \file
/// The test of an operation's gradient. Copy this header beside your own operations: it needs linden and Boost.Test
/// only.
///
///     expect_gradient([](Expr<Shape<3, 4>> a, Expr<Shape<4, 2>> b) { return a * b; },
///                     random_tensor<Shape<3, 4>>(1), random_tensor<Shape<4, 2>>(2));
///
/// Draws a random upstream G of the shape of f's result and compares, for every argument that is neither Frozen nor Ids,
/// vjp(f) in double with central differences of sum(f * G), and the same in float with double.
/// Shapes  f returns one Expr of any shape; arguments are tensors of double (int32 for Ids) or records of them.
/// Units   errors are L2 norms of differences over L2 norms of what is expected, per argument.

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/backend/executor.hpp>
#include <linden/core/random.hpp>
#include <utility>
#include <vector>

namespace linden::test {

/// What is allowed to differ, and by how much.
struct GradientTolerance {
  /// Central differences of step 1e-5 in double: about 1e-10 of truncation (the square of the step) and 1e-11 of
  /// rounding for values near 1; the rest is room for curvature and for functions that lose digits of their own.
  double differences = 1e-6;
  /// float has 1.2e-7 a rounding; sums of some hundred terms and one exponential stay a thousand times below this.
  double single = 1e-4;
  /// Step of the differences, times max(1, |x|).
  double step = 1e-5;
};

/// The largest errors over the arguments of one call; `argument` is where `differences` was found.
struct GradientErrors {
  double differences = 0, single = 0, value = 0;
  int argument = -1;
};

/// Uniform in (low, high), the same for the same seed.
template <class S>
Tensor<double, S> random_tensor(std::uint64_t seed, std::convertible_to<long> auto... sizes) {
  PythonRandom random(seed);
  Tensor<double, S> x(sizes...);
  for (double& element : x.span()) element = 2 * random.random() - 1;
  return x;
}

/// |a - b| / |b| in L2; |a - b| itself where b is (nearly) zero.
template <class A, class B>
double relative_l2(const std::vector<A>& a, const std::vector<B>& b) {
  BOOST_REQUIRE_EQUAL(a.size(), b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(difference) / (norm < 1e-16 ? 1.0 : std::sqrt(norm));
}

namespace detail {

/// Contiguous memory of T and the view (or record of views) that shows it with the shapes of `Given`.
template <class T, class Given>
struct Copy;
template <class T, class E, class S, template <class, class> class Kind>
struct Copy<T, Kind<E, S>> {
  static constexpr bool ids = std::is_same_v<std::remove_const_t<E>, std::int32_t>;
  using element = std::conditional_t<ids, std::int32_t, T>;
  using View = TensorView<element, S>;
  std::vector<element> memory;
  View view;
  explicit Copy(const Kind<E, S>& given) : memory(given.size()) {
    for (long i = 0; i < given.rows(); ++i)
      for (long j = 0; j < given.columns(); ++j)
        memory[static_cast<std::size_t>(i * given.columns() + j)] = static_cast<element>(given(i, j));
    view = View::strided(memory.data(), given.rows(), given.columns(), given.columns());
  }
};
template <class T, class Mode, template <class> class Record>
struct Copy<T, Record<Mode>> {
  using View = Record<Bound<T>>;
  std::vector<T> memory;
  View view{};
  explicit Copy(const Record<Mode>& given) {
    std::size_t count = 0;
    for_each_leaf(given, [&](const auto& leaf) { count += leaf.size(); });
    memory.reserve(count);
    for_each_leaf_pair(view, given, [&]<class L>(L& leaf, const auto& from) {
      T* const first = memory.data() + memory.size();
      for (long i = 0; i < from.rows(); ++i)
        for (long j = 0; j < from.columns(); ++j) memory.push_back(static_cast<T>(from(i, j)));
      leaf = L::strided(first, from.rows(), from.columns(), from.columns()).named(leaf.name());
    });
  }
};

template <class F, class T, class... Given>
class GradientCheck {
  using Arguments = arguments_of<F>;
  using S = typename result_of<F>::shape;
  template <std::size_t K>
  static constexpr bool wanted = linden::detail::differentiable<std::tuple_element_t<K, Arguments>>;

 public:
  explicit GradientCheck(const Given&... given)
      : arguments_(Copy<T, Given>(given)...), gradients_(Copy<T, Given>(given)...) {}
  GradientCheck(const GradientCheck&) = delete;
  GradientCheck& operator=(const GradientCheck&) = delete;

  Tensor<T, S> value() {
    return std::apply([](const auto&... a) { return compile(F{})(a.view...); }, arguments_);
  }

  /// vjp(f), into the copies that have the shapes of the arguments.
  void differentiate(const Tensor<double, S>& upstream) {
    using Gradient = decltype(vjp(F{}));
    const Copy<T, Tensor<double, S>> g(upstream);
    Workspace<T> workspace;
    auto out = outputs(std::index_sequence_for<Given...>{});
    std::apply(
        [&](const auto&... a) {
          if constexpr (std::tuple_size_v<decltype(out)> == 1)
            evaluate_into<Gradient>(workspace, std::get<0>(out), a.view..., g.view);
          else
            evaluate_into<Gradient>(workspace, out, a.view..., g.view);
        },
        arguments_);
  }

  /// Calls visit(k, memory of argument k, memory of its gradient) for every argument that has one.
  template <class Visit>
  void for_each(Visit&& visit) {
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      const auto one = [&]<std::size_t k>(std::integral_constant<std::size_t, k>) {
        if constexpr (wanted<k>)
          visit(static_cast<int>(k), std::get<k>(arguments_).memory, std::get<k>(gradients_).memory);
      };
      (one(std::integral_constant<std::size_t, K>{}), ...);
    }
    (std::index_sequence_for<Given...>{});
  }

 private:
  template <std::size_t... K>
  auto outputs(std::index_sequence<K...>) {
    const auto one = [this]<std::size_t k>(std::integral_constant<std::size_t, k>) {
      if constexpr (wanted<k>)
        return std::tuple(std::get<k>(gradients_).view);
      else
        return std::tuple<>();
    };
    return std::tuple_cat(one(std::integral_constant<std::size_t, K>{})...);
  }

  std::tuple<Copy<T, Given>...> arguments_, gradients_;
};

}  // namespace detail

/// The errors that `expect_gradient` judges.
template <class F, class... Given>
GradientErrors gradient_errors(F, GradientTolerance tolerance, const Given&... given) {
  detail::GradientCheck<F, double, Given...> exact(given...);
  detail::GradientCheck<F, float, Given...> single(given...);
  const auto y = exact.value();
  auto G = y;
  PythonRandom random(20240229);
  for (double& g : G.span()) g = 2 * random.random() - 1;
  exact.differentiate(G);
  single.differentiate(G);
  GradientErrors errors;
  const auto y_single = single.value();
  errors.value = relative_l2(std::vector<float>(y_single.span().begin(), y_single.span().end()),
                             std::vector<double>(y.span().begin(), y.span().end()));
  exact.for_each([&](int k, std::vector<double>& x, const std::vector<double>& gradient) {
    std::vector<double> differences(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double kept = x[i], h = tolerance.step * std::max(1.0, std::abs(kept));
      x[i] = kept + h;
      const auto above = exact.value();
      x[i] = kept - h;
      const auto below = exact.value();
      x[i] = kept;
      for (std::size_t j = 0; j < y.size(); ++j)
        differences[i] += (above.span()[j] - below.span()[j]) * G.span()[j] / (2 * h);
    }
    const double error = relative_l2(gradient, differences);
    if (errors.argument < 0 || !(error <= errors.differences)) {
      errors.differences = error;
      errors.argument = k;
    }
    single.for_each([&](int other, const std::vector<float>&, const std::vector<float>& rounded) {
      if (other == k && !(relative_l2(rounded, gradient) <= errors.single))
        errors.single = relative_l2(rounded, gradient);
    });
  });
  return errors;
}

/// Fails the running test case where vjp(f) is not the derivative of f, or float strays from double.
template <class F, class... Given>
void expect_gradient(F f, GradientTolerance tolerance, const Given&... given) {
  const GradientErrors errors = gradient_errors(f, tolerance, given...);
  BOOST_TEST(errors.argument >= 0, "the function has no argument with a gradient");
  BOOST_TEST(errors.differences <= tolerance.differences,
             "gradient of argument " << errors.argument << " differs from central differences by " << errors.differences
                                     << ", allowed are " << tolerance.differences);
  BOOST_TEST(errors.single <= tolerance.single, "gradients in float differ from those in double by " << errors.single);
  BOOST_TEST(errors.value <= tolerance.single, "values in float differ from those in double by " << errors.value);
}
template <class F, class First, class... Given>
requires(!std::is_same_v<First, GradientTolerance>) void expect_gradient(F f, const First& first,
                                                                         const Given&... given) {
  expect_gradient(f, GradientTolerance{}, first, given...);
}

}  // namespace linden::test
