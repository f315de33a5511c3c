#define BOOST_TEST_MODULE schedule
#include <linden/train/schedule.hpp>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

using namespace linden;

namespace {

// gsm8k: 7473 rows.
static_assert(micro_batches_per_epoch(7473, 4) == 1869 && steps_per_epoch(7473, 4, 8) == 234);
static_assert(micro_batches_per_epoch(7473, 8) == 935 && steps_per_epoch(7473, 8, 4) == 234);
static_assert(micro_batches_per_epoch(8, 4) == 2 && micro_batches_per_epoch(1, 4) == 1 &&
              steps_per_epoch(8, 4, 2) == 1);
static_assert(linear_schedule(0, 4) == 1 && linear_schedule(1, 4) == 0.75 && linear_schedule(3, 4) == 0.25);
static_assert(linear_schedule(4, 4) == 0 && linear_schedule(9, 4) == 0);
static_assert(linear_schedule(0, 10, 2) == 0 && linear_schedule(1, 10, 2) == 0.5 && linear_schedule(2, 10, 2) == 1);
static_assert(linear_schedule(6, 10, 2) == 0.5 && linear_schedule(4, 4, 4) == 0);

bool says(const UsageError& e, const std::string& part) {
  return std::string(e.what()).find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(total_steps_round_up) {
  BOOST_TEST(total_steps(3, 234) == 702U);
  BOOST_TEST(total_steps(0.5, 5) == 3U);
  BOOST_TEST(total_steps(1e-9, 5) == 1U);
}

BOOST_AUTO_TEST_CASE(refusals) {
  BOOST_CHECK_EXCEPTION((void)steps_per_epoch(0, 4, 8), UsageError, [](auto& e) { return says(e, "samples 0"); });
  BOOST_CHECK_EXCEPTION((void)steps_per_epoch(9, 0, 8), UsageError, [](auto& e) { return says(e, "micro-batch 0"); });
  BOOST_CHECK_EXCEPTION((void)steps_per_epoch(9, 4, 0), UsageError, [](auto& e) { return says(e, "accumulation 0"); });
  for (const double epochs : {0.0, -1.0, std::nan(""), HUGE_VAL})
    BOOST_CHECK_EXCEPTION((void)total_steps(epochs, 5), UsageError,
                          [](auto& e) { return says(e, "epochs of 5 steps"); });
  BOOST_CHECK_THROW((void)total_steps(1.0, 0), UsageError);
}
