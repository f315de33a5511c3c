#define BOOST_TEST_MODULE kernels_adamw
#include "../../kernels/adamw.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {

const float poison = std::numeric_limits<float>::quiet_NaN();
const AdamWOptions options{.beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-6, .weight_decay = 0.1};

/// Parameters and moments on the host.
struct State {
  std::vector<float> param, m, v;
  std::vector<bfloat16> half;

  explicit State(long n)
      : param(Values::random(1, n, 1).data),
        m(param.size(), 0.0F),
        v(param.size(), 0.0F),
        half(param.size(), bfloat16(7.0F)) {}
};

/// The state on the device, every buffer `shift` floats behind an aligned address.
class OnDevice {
 public:
  OnDevice(const State& state, long shift) : n_(static_cast<long>(state.param.size())), shift_(shift) {
    for (const auto* values : {&state.param, &state.m, &state.v, &state.param}) floats_.push_back(shifted(*values));
    half_ = test::detail::upload(state.half);
    buffers_ = {at(0), at(3), at(1), at(2), half_->as<bfloat16>()};
  }
  void without_half() { buffers_.half = nullptr; }

  /// The norm that the step leaves.
  float step(const std::vector<float>& grad, double max_norm, std::size_t number, double learning_rate) {
    floats_[3] = shifted(grad);
    buffers_.grad = at(3);
    const auto norm = test::detail::upload(std::vector<float>{poison});
    const auto scratch =
        test::detail::upload(std::vector<float>(static_cast<std::size_t>(cuda::adamw_scratch(n_)), poison));
    cuda::Queue queue;
    queue.scratch = scratch->as<float>();
    cuda::adamw(buffers_, n_, max_norm, AdamWStep<float>(number, learning_rate, options), norm->as<float>(),
                queue);
    float found = 0;
    norm->get(&found);
    return found;
  }
  [[nodiscard]] State state() const {
    State state(n_);
    get(state.param, 0);
    get(state.m, 1);
    get(state.v, 2);
    half_->get(state.half.data());
    return state;
  }

 private:
  [[nodiscard]] std::unique_ptr<DeviceBytes> shifted(const std::vector<float>& values) const {
    std::vector<float> all(static_cast<std::size_t>(shift_), poison);
    all.insert(all.end(), values.begin(), values.end());
    all.push_back(poison);
    return test::detail::upload(all);
  }
  [[nodiscard]] float* at(std::size_t k) const { return floats_[k]->as<float>() + shift_; }
  void get(std::vector<float>& to, std::size_t k) const {
    std::vector<float> all(to.size() + static_cast<std::size_t>(shift_) + 1);
    floats_[k]->get(all.data());
    BOOST_TEST(std::isnan(all.back()), "memory behind the buffer was written");
    std::copy_n(all.begin() + shift_, to.size(), to.begin());
  }

  long n_, shift_;
  std::vector<std::unique_ptr<DeviceBytes>> floats_;
  std::unique_ptr<DeviceBytes> half_;
  cuda::AdamWBuffers buffers_;
};

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - static_cast<double>(expected[i]), 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

void expect_close(const State& found, const State& expected) {
  constexpr double tolerance = 1e-6;
  BOOST_TEST(relative_error(found.param, expected.param) <= tolerance);
  BOOST_TEST(relative_error(found.m, expected.m) <= tolerance);
  BOOST_TEST(relative_error(found.v, expected.v) <= tolerance);
  bool rounded = true;
  for (std::size_t i = 0; i < found.half.size(); ++i) rounded = rounded && found.half[i] == bfloat16(found.param[i]);
  BOOST_TEST(rounded, "half is not the rounded param");
}

/// Several steps on the device and on the CPU.
void expect_steps(long n, double max_norm, float spread, long shift, std::size_t steps = 4) {
  State expected(n);
  OnDevice device(expected, shift);
  for (std::size_t number = 1; number <= steps; ++number) {
    std::vector<float> grad = Values::random(1, n, static_cast<std::uint32_t>(10 + number), spread).data;
    if (n > 2) grad[1] = 0;
    const double learning_rate = 0.01 / static_cast<double>(number), norm = gradient_norm(std::span<const float>(grad));
    const float found = device.step(grad, max_norm, number, learning_rate);
    BOOST_TEST(std::abs(static_cast<double>(found) - norm) <= 1e-7 * norm, "norm is " << found << ", not " << norm);
    adamw_step<float>(expected.param, grad, expected.m, expected.v, number, learning_rate, options,
                      clip_factor(norm, max_norm));
    expect_close(device.state(), expected);
  }
}

bool same(const State& a, const State& b) { return a.param == b.param && a.m == b.m && a.v == b.v && a.half == b.half; }

}  // namespace

BOOST_AUTO_TEST_CASE(steps_as_on_the_cpu) {
  for (const long n : {0L, 1L, 3L, 4L, 1023L, 2050L, 20003L})
    for (const float spread : {1e-3F, 1.0F, 1e25F})
      for (const long shift : {0L, 1L}) expect_steps(n, 1.0, spread, shift);
}

BOOST_AUTO_TEST_CASE(many_blocks) { expect_steps(530001, 1.0, 1, 0, 1); }

BOOST_AUTO_TEST_CASE(infinite_max_norm_never_clips) {
  expect_steps(777, std::numeric_limits<double>::infinity(), 100, 0);
}

BOOST_AUTO_TEST_CASE(the_same_bits_again) {
  const State begin(5001);
  const std::vector<float> grad = Values::random(1, 5001, 2).data;
  OnDevice first(begin, 0), second(begin, 0);
  first.step(grad, 0.5, 1, 0.1);
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = true;
#endif
  second.step(grad, 0.5, 1, 0.1);
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = false;
#endif
  BOOST_TEST(same(first.state(), second.state()));
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_not_finite_changes_nothing) {
  for (const long n : {1L, 4099L})
    for (const float bad : {poison, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      const State begin(n);
      OnDevice device(begin, 0);
      std::vector<float> grad = Values::random(1, n, 2).data;
      grad.back() = bad;
      BOOST_TEST(!std::isfinite(device.step(grad, 1.0, 1, 0.1)));
      BOOST_TEST(same(device.state(), begin));
    }
}

BOOST_AUTO_TEST_CASE(a_norm_beyond_float_changes_nothing) {
  const State begin(100);
  OnDevice device(begin, 0);
  BOOST_TEST(std::isinf(device.step(std::vector<float>(100, 3e38F), 1.0, 1, 0.1)));
  BOOST_TEST(same(device.state(), begin));
}

BOOST_AUTO_TEST_CASE(half_is_optional) {
  const State begin(30);
  OnDevice device(begin, 0);
  device.without_half();
  device.step(Values::random(1, 30, 2).data, 1.0, 1, 0.1);
  BOOST_TEST((device.state().half == begin.half));
  BOOST_TEST((device.state().param != begin.param));
}

BOOST_AUTO_TEST_CASE(refusals) {
  OnDevice device(State(3), 0);
  BOOST_CHECK_THROW(device.step({1, 2, 3}, 1.0, 0, 0.1), UsageError);
  BOOST_CHECK_THROW(device.step({1, 2, 3}, 0.0, 1, 0.1), UsageError);
}
