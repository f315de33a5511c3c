#define BOOST_TEST_MODULE adamw
#include <linden/train/adamw.hpp>

#include <boost/test/unit_test.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <cmath>
#include <limits>
#include <linden/core/random.hpp>
#include <linden/train/schedule.hpp>
#include <string>
#include <vector>

#include "support/golden.hpp"

using namespace linden;

namespace {

/// The nested arrays of the golden file as one flat buffer.
template <class T>
std::vector<T> flat(const nlohmann::json& nested) {
  if (!nested.is_array()) return {static_cast<T>(nested.get<double>())};
  std::vector<T> values;
  for (const auto& part : nested)
    for (const T value : flat<T>(part)) values.push_back(value);
  return values;
}

template <class T>
void expect_close(const std::vector<T>& found, const nlohmann::json& expected, double tolerance) {
  const auto values = flat<double>(expected);
  BOOST_REQUIRE_EQUAL(found.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    BOOST_CHECK_SMALL(test::relative_error(static_cast<double>(found[i]), values[i], 1e-3), tolerance);
}

template <class T>
void follow_golden_steps(double tolerance) {
  const auto file = test::golden("adamw.json");
  BOOST_REQUIRE(file["cases"].size() == 4);
  for (const auto& c : file["cases"]) {
    auto param = flat<T>(c["init"]);
    std::vector<T> m(param.size());
    std::vector<T> v(param.size());
    const AdamWOptions options{c["betas"][0], c["betas"][1], c["eps"], c["weight_decay"]};
    std::size_t step = 0;
    for (const auto& s : c["steps"]) {
      const auto grad = flat<T>(s["grad"]);
      const double norm = gradient_norm(std::span(grad));
      const double factor = c["max_grad_norm"].is_null() ? 1.0 : clip_factor(norm, c["max_grad_norm"]);
      const double rate = c["lr0"].get<double>() * linear_schedule(step, c["total_steps"], c["warmup_steps"]);
      BOOST_CHECK_SMALL(test::relative_error(norm, s["grad_norm"]), tolerance);
      BOOST_CHECK_SMALL(test::relative_error(rate, s["lr"], 1e-3), tolerance);
      adamw_step(std::span(param), grad, m, v, ++step, rate, options, factor);
      expect_close(param, s["param"], tolerance);
      expect_close(m, s["m"], tolerance);
      expect_close(v, s["v"], tolerance);
    }
  }
}

bool says(const Error& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(follows_torch_in_double) { follow_golden_steps<double>(1e-12); }
BOOST_AUTO_TEST_CASE(follows_torch_in_float) { follow_golden_steps<float>(1e-5); }

BOOST_AUTO_TEST_CASE(worked_example) {
  std::vector<double> theta{0.5};
  std::vector<double> m(1);
  std::vector<double> v(1);
  const double grads[] = {0.1, -0.2, 0.3};
  const double expected[] = {0.4990000001, 0.4993661036038849, 0.4990228625394774};
  for (std::size_t t = 1; t <= 3; ++t) {
    adamw_step(std::span(theta), std::span(&grads[t - 1], 1), m, v, t, 1e-3);
    BOOST_CHECK_SMALL(theta[0] - expected[t - 1], 1e-13);
  }
}

BOOST_AUTO_TEST_CASE(a_gradient_factor_is_a_scaled_gradient) {
  std::vector<double> a{0.5, -1, 2};
  std::vector<double> b = a;
  std::vector<double> ma(3), va(3), mb(3), vb(3);
  const std::vector<double> grad{0.5, 3, -7};
  const std::vector<double> quarter{0.125, 0.75, -1.75};
  adamw_step(std::span(a), grad, ma, va, 1, 0.1, {}, 0.25);
  adamw_step(std::span(b), quarter, mb, vb, 1, 0.1);
  BOOST_CHECK(a == b && ma == mb && va == vb);
}

BOOST_AUTO_TEST_CASE(long_buffers_are_updated_to_the_last_element) {
  const std::size_t n = 50001;
  std::vector<float> param(n, 1.0F), grad(n, 0.5F), m(n), v(n);
  adamw_step(std::span(param), grad, m, v, 1, 0.25);
  for (std::size_t i = 0; i < n; ++i) BOOST_REQUIRE_CLOSE(param[i], 0.75F, 1e-4F);
}

BOOST_AUTO_TEST_CASE(norm_of_any_length) {
  for (const std::size_t n : {0U, 1U, 7U, 8U, 9U, 4095U, 4096U, 4097U, 100003U, 1048577U, 1200001U}) {
    const std::vector<float> ones(n, 2.0F);
    BOOST_TEST(gradient_norm(std::span(ones)) == 2.0 * std::sqrt(static_cast<double>(n)));
  }
  std::vector<double> writable{3, 4};
  BOOST_TEST(gradient_norm(std::span(writable)) == 5.0);
}

BOOST_AUTO_TEST_CASE(norm_does_not_depend_on_the_number_of_threads) {
  NormalRandom random(1);
  std::vector<float> grad(200003);
  for (auto& g : grad) g = static_cast<float>(random());
  double plain = 0;
  for (const float g : grad) plain += double(g) * double(g);
  const double norm = gradient_norm(std::span(grad));
  BOOST_CHECK_SMALL(test::relative_error(norm, std::sqrt(plain)), 1e-12);
#ifdef _OPENMP
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    BOOST_TEST(gradient_norm(std::span(grad)) == norm);
  }
#endif
}

BOOST_AUTO_TEST_CASE(clipping) {
  const double infinity = std::numeric_limits<double>::infinity();
  BOOST_TEST(clip_factor(0.0, 1.0) == 1.0);
  BOOST_TEST(clip_factor(0.5, 1.0) == 1.0);
  BOOST_TEST(clip_factor(4.0, 1.0) == 1.0 / 4.000001);
  BOOST_TEST(clip_factor(1.0, 1.0) == 1.0 / 1.000001);  // the formula's epsilon, as torch has it
  BOOST_TEST(clip_factor(1e9, infinity) == 1.0);
  BOOST_TEST(clip_factor(infinity, 1.0) == 0.0);
  BOOST_TEST(std::isnan(clip_factor(std::nan(""), 1.0)));
  BOOST_TEST(std::isnan(clip_factor(std::nan(""), infinity)));
  for (const double bad : {0.0, -1.0, std::nan("")})
    BOOST_CHECK_EXCEPTION((void)clip_factor(1.0, bad), UsageError, [](auto& e) { return says(e, "not positive"); });
}

BOOST_AUTO_TEST_CASE(refusals_change_nothing) {
  std::vector<float> param{1, 2}, grad{1, 1}, m(2), v(1);
  BOOST_CHECK_EXCEPTION(adamw_step(std::span(param), grad, m, v, 1, 0.1), ShapeError,
                        [](auto& e) { return says(e, "lengths 2, 2, 2, 1 must match in size"); });
  v.resize(2);
  BOOST_CHECK_EXCEPTION(adamw_step(std::span(param), grad, m, v, 0, 0.1), UsageError,
                        [](auto& e) { return says(e, "steps count from 1"); });
  BOOST_CHECK((param == std::vector<float>{1, 2}));
}
