#define BOOST_TEST_MODULE sample_order
#include <linden/train/sample_order.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

using namespace linden;
using Indices = std::vector<std::size_t>;

namespace {

// gsm8k: 1869 micro-batches of 4, the last of 1 sample; 234 steps of 8, the last of 5 micro-batches.
constexpr EpochPlan gsm8k(7473, 4, 8);
static_assert(gsm8k.steps() == 234 && gsm8k.micro_batches(0) == 8 && gsm8k.micro_batches(233) == 5);
static_assert(gsm8k.micro_batch(0, 1) == SampleRange{4, 4} && gsm8k.micro_batch(233, 4) == SampleRange{7472, 1});
static_assert(gsm8k.accumulation(1) == SampleRange{32, 32} && gsm8k.accumulation(233) == SampleRange{7456, 17});

void expect_equal(std::span<const std::size_t> found, const Indices& expected) {
  BOOST_CHECK_EQUAL_COLLECTIONS(found.begin(), found.end(), expected.begin(), expected.end());
}

bool says(const UsageError& e, const std::string& part) {
  return std::string(e.what()).find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(visits_samples_as_torch_does) {
  SampleOrder order(gsm8k, 42);
  expect_equal(order.micro_batch(0, 0), {7035, 3620, 4357, 457});
  expect_equal(order.micro_batch(0, 1), {1205, 6524, 1978, 831});
  order.start_epoch(1);
  BOOST_TEST(order.epoch() == 1U);
  expect_equal(order.micro_batch(0, 0), {3463, 7281, 2544, 700});
  order.start_epoch(0);  // going back is as good as never having left
  expect_equal(order.accumulation(0).first(5), {7035, 3620, 4357, 457, 1205});
}

BOOST_AUTO_TEST_CASE(an_epoch_is_cut_without_gap_or_overlap) {
  for (const std::size_t n : {1U, 5U, 12U, 13U})
    for (const std::size_t micro : {1U, 3U, 20U})
      for (const std::size_t group : {1U, 2U, 7U}) {
        SampleOrder order(EpochPlan(n, micro, group), 7);
        Indices by_step;
        Indices by_micro_batch;
        for (std::size_t s = 0; s < order.plan().steps(); ++s) {
          for (const auto i : order.accumulation(s)) by_step.push_back(i);
          for (std::size_t b = 0; b < order.plan().micro_batches(s); ++b) {
            BOOST_TEST((!order.micro_batch(s, b).empty() && order.micro_batch(s, b).size() <= micro));
            for (const auto i : order.micro_batch(s, b)) by_micro_batch.push_back(i);
          }
        }
        expect_equal(by_step, epoch_order(n, 7, 0));
        expect_equal(by_micro_batch, by_step);
      }
}

BOOST_AUTO_TEST_CASE(refusals) {
  BOOST_CHECK_EXCEPTION(EpochPlan(0, 4, 8), UsageError, [](auto& e) { return says(e, "samples 0"); });
  BOOST_CHECK_EXCEPTION((void)gsm8k.micro_batches(234), UsageError, [](auto& e) { return says(e, "step 234 of 234"); });
  BOOST_CHECK_EXCEPTION((void)gsm8k.micro_batch(233, 5), UsageError,
                        [](auto& e) { return says(e, "micro-batch 5 of 5"); });
}
