#define BOOST_TEST_MODULE llama_pass
#include <linden/train/llama_pass.hpp>
//
#include <boost/test/unit_test.hpp>

#include "train/adapted_model.hpp"

namespace {
using namespace linden;
using namespace linden::test;
}  // namespace

BOOST_AUTO_TEST_CASE(adapter_gradients_match_central_differences) {
  Adapted<Tiny, double> f;
  const Batch batch = batch_of({4, 1, 3}, Tiny::vocabulary);
  f.run(batch, 0.5);
  const std::vector<double> gradient = f.flat_gradient;
  BOOST_TEST(error_of_gradient(f.flat, gradient, [&] { return f.run(batch, 0.5); }) < 1e-6);
}

BOOST_AUTO_TEST_CASE(a_row_of_p_per_token) {
  // The second sequence is trained at rank 1: beyond it, only the first contributes to the gradients.
  Adapted<Tiny, double> f;
  const Batch batch = batch_of({4, 3}, Tiny::vocabulary);
  std::vector<double> rows(7 * R, 1.0);
  for (std::size_t t = 4; t < 7; ++t) rows[t * R + 1] = rows[t * R + 2] = 0;
  const auto run = [&] {
    std::ranges::fill(f.flat_gradient, 0.0);
    return f.pass.run(f.model, f.factors, {rows.data(), R, R}, f.gradients, batch, 1);
  };
  run();
  const std::vector<double> gradient = f.flat_gradient;
  BOOST_TEST(error_of_gradient(f.flat, gradient, run) < 1e-6);
}

BOOST_AUTO_TEST_CASE(gradients_are_added) {
  Adapted<Tiny, double> f;
  const Batch batch = batch_of({4, 3}, Tiny::vocabulary);
  const double once = f.run(batch, 1);
  const std::vector<double> gradient = f.flat_gradient;
  BOOST_TEST(f.pass.run(f.model, f.factors, {f.p.data(), R, 0}, f.gradients, batch, 1) == once);
  for (std::size_t i = 0; i < gradient.size(); ++i)
    BOOST_TEST(std::abs(f.flat_gradient[i] - 2 * gradient[i]) <= 1e-13 * (1 + std::abs(gradient[i])));
}

// Samples share a buffer and see nothing of each other: loss and gradients are the sums of the samples' own.
BOOST_AUTO_TEST_CASE(packing_changes_nothing) {
  Adapted<Tiny, double> f;
  const std::vector<long> lengths{5, 1, 3, 7};
  const Batch packed = batch_of({5, 1, 3, 7}, Tiny::vocabulary);
  const double together = f.run(packed, 0.5);
  const std::vector<double> gradient = f.flat_gradient;
  std::ranges::fill(f.flat_gradient, 0.0);
  double apart = 0;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    Batch one;
    Sample sample;
    for (long t = packed.offsets[s]; t < packed.offsets[s + 1]; ++t) {
      sample.ids.push_back(packed.ids[std::size_t(t)]);
      sample.labels.push_back(t == packed.offsets[s] ? Sample::ignored : packed.targets[std::size_t(t - 1)]);
    }
    one.append(sample, 512);
    apart += f.pass.run(f.model, f.factors, {f.p.data(), R, 0}, f.gradients, one, 0.5);
  }
  BOOST_TEST(std::abs(together - apart) <= 1e-12 * apart);
  BOOST_TEST(relative_l2(f.flat_gradient, gradient) < 1e-12);
}

BOOST_AUTO_TEST_CASE(a_batch_without_targets_has_no_loss_and_no_gradient) {
  Adapted<Tiny, double> f;
  Batch batch = batch_of({4, 3}, Tiny::vocabulary);
  std::ranges::fill(batch.targets, Sample::ignored);
  BOOST_TEST(f.run(batch, 1) == 0);
  for (const double g : f.flat_gradient) BOOST_TEST(g == 0);
}

BOOST_AUTO_TEST_CASE(policies_give_the_same_gradients) {
  Adapted<Tiny, double> costly;
  Adapted<Tiny, double, Keep::everything> everything;
  Adapted<Tiny, double, Keep::inputs> inputs;
  const Batch batch = batch_of({4, 1, 3}, Tiny::vocabulary);
  BOOST_TEST(costly.run(batch, 1) == everything.run(batch, 1));
  BOOST_TEST(costly.run(batch, 1) == inputs.run(batch, 1));
  BOOST_TEST(costly.flat_gradient == everything.flat_gradient);
  BOOST_TEST(costly.flat_gradient == inputs.flat_gradient);
}
