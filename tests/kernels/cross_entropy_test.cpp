#define BOOST_TEST_MODULE kernels_cross_entropy
#include "../../kernels/cross_entropy.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// What the rows of one chunk give.
struct Rows {
  std::vector<float> losses, correct, slopes;
};

const float scale = 0.37F, poison = std::numeric_limits<float>::quiet_NaN();

/// By the device: losses and slopes (if wanted) of `cross_entropy_rows`, or losses and correct of `score_rows`.
template <class T>
Rows on_device(const Values& logits, const std::vector<std::int32_t>& targets, bool scores, bool slopes = true) {
  Operand<T> operand;
  const auto memory = test::detail::upload(logits, operand), ids = test::detail::upload(targets),
             factor = test::detail::upload(std::vector<float>{scale});
  const std::vector<float> blank(2 * targets.size(), poison);  // every other one is another's
  const auto losses = test::detail::upload(blank), correct = test::detail::upload(blank);
  const cuda::FloatColumn loss_column{losses->as<float>(), 2}, correct_column{correct->as<float>(), 2};
  if (scores)
    cuda::score_rows(operand, ids->as<std::int32_t>(), loss_column, correct_column, {});
  else
    cuda::cross_entropy_rows(operand, ids->as<std::int32_t>(), factor->as<float>(), slopes, loss_column, {});
  Rows rows{blank, blank, test::detail::download(logits, operand, *memory)};
  losses->get(rows.losses.data());
  correct->get(rows.correct.data());
  return rows;
}

/// Loss of a row in double, its slopes and whether its target is first.
template <class T>
double expected_row(const Values& logits, long i, long target, std::vector<double>& slopes, bool& first) {
  std::vector<double> row;
  for (long j = 0; j < logits.columns; ++j)
    row.push_back(test::detail::rounded<T>(logits.data[static_cast<std::size_t>(i * logits.stride + j)], false));
  slopes.assign(row.size(), 0);
  first = false;
  if (target < 0) return 0;
  const auto highest = std::max_element(row.begin(), row.end());
  first = highest - row.begin() == target;
  double sum = 0;
  for (const double logit : row) sum += std::exp(logit - *highest);
  for (std::size_t j = 0; j < row.size(); ++j)
    slopes[j] =
        static_cast<double>(scale) * (std::exp(row[j] - *highest) / sum - (static_cast<long>(j) == target ? 1 : 0));
  return std::log(sum) + *highest - row[static_cast<std::size_t>(target)];
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

/// Runs `body` with the simulated threads in order, then in reverse.
template <class Body>
std::array<Rows, 2> both_orders(const Body& body) {
  std::array<Rows, 2> rows;
  rows[0] = body();
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = true;
#endif
  rows[1] = body();
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = false;
#endif
  return rows;
}

/// Everything about these rows, in T.
template <class T>
void expect_rows_in(const Values& logits, const std::vector<std::int32_t>& targets) {
  const auto trained = both_orders([&] { return on_device<T>(logits, targets, false); });
  const auto scored = both_orders([&] { return on_device<T>(logits, targets, true); });
  const Rows read = on_device<T>(logits, targets, false, false);
  BOOST_TEST(same_bits(trained[0].losses, trained[1].losses));
  BOOST_TEST(same_bits(trained[0].slopes, trained[1].slopes));
  BOOST_TEST(same_bits(scored[0].losses, scored[1].losses));
  BOOST_TEST(same_bits(scored[0].correct, scored[1].correct));
  BOOST_TEST(same_bits(trained[0].losses, read.losses));
  BOOST_TEST(same_bits(trained[0].losses, scored[0].losses));
  BOOST_TEST(same_bits(read.slopes, scored[0].slopes));  // the logits, untouched
  for (long i = 0; i < logits.rows; ++i) {
    std::vector<double> slopes;
    bool first = false;
    const std::int32_t target = targets[static_cast<std::size_t>(i)];
    const double loss = expected_row<T>(logits, i, target, slopes, first);
    const float found = trained[0].losses[static_cast<std::size_t>(2 * i)];
    BOOST_TEST(std::abs(static_cast<double>(found) - loss) <= 2e-6 * (1 + std::abs(loss)),
               "loss of row " << i << " of " << logits.columns << " is " << found << ", not " << loss);
    BOOST_TEST(std::isnan(trained[0].losses[static_cast<std::size_t>(2 * i + 1)]));
    BOOST_TEST((scored[0].correct[static_cast<std::size_t>(2 * i)] == (first ? 1.0F : 0.0F)),
               "row " << i << " of " << logits.columns << " should be " << (first ? "correct" : "incorrect"));
    double difference = 0;
    bool kept = true;
    const double largest = static_cast<double>(scale);
    for (long j = 0; j < logits.stride; ++j) {
      const auto n = static_cast<std::size_t>(i * logits.stride + j);
      const float value = trained[0].slopes[n];
      if (j < logits.columns)
        difference = std::max(difference, std::abs(static_cast<double>(value) - slopes[static_cast<std::size_t>(j)]) /
                                              (1e-2 * largest + std::abs(slopes[static_cast<std::size_t>(j)])));
      else
        kept = kept && value == test::detail::rounded<T>(logits.data[n], false);
      if (target < 0 && j < logits.columns) BOOST_TEST(value == 0);
    }
    BOOST_TEST(difference <= (sizeof(T) == 4 ? 2e-5 : 5e-3), "slopes of row " << i << ": error " << difference);
    BOOST_TEST(kept, "memory between the rows was written");
  }
}

void expect_rows(const Values& logits, const std::vector<std::int32_t>& targets) {
  expect_rows_in<float>(logits, targets);
  expect_rows_in<bfloat16>(logits, targets);
}

/// Targets of `rows` rows: the first and the last id, then spread over the vocabulary; every fourth row has none.
std::vector<std::int32_t> some_targets(long rows, long vocabulary) {
  std::vector<std::int32_t> targets;
  for (long i = 0; i < rows; ++i)
    targets.push_back(static_cast<std::int32_t>(i % 4 == 3 ? -100
                                                : i == 0   ? 0
                                                : i == 1   ? vocabulary - 1
                                                           : i * 7919 % vocabulary));
  return targets;
}

}  // namespace

BOOST_AUTO_TEST_CASE(rows_of_logits) {
  for (const long rows : {0L, 1L, 6L})
    for (const long vocabulary : {1L, 2L, 31L, 64L, 1000L, 2067L})
      for (const long gap : {0L, 5L, (8 - vocabulary % 8) % 8})  // the last one: packs and a rest
        expect_rows(Values::random(rows, vocabulary, 1, 3, gap), some_targets(rows, vocabulary));
}

BOOST_AUTO_TEST_CASE(a_large_vocabulary) {
  expect_rows_in<bfloat16>(Values::random(1, 128256, 2, 4), {77777});
  expect_rows_in<bfloat16>(Values::random(2, 50257, 3, 4, 7), {50256, 7});
}

BOOST_AUTO_TEST_CASE(rows_without_targets) { expect_rows(Values::random(3, 100, 4), {-1, -100, -2147483647}); }

BOOST_AUTO_TEST_CASE(extreme_logits) {
  for (const long vocabulary : {40L, 1003L})
    for (const float level : {1e4F, -1e4F, 0.0F}) {
      Values logits = Values::random(4, vocabulary, 5, 0);  // all equal
      for (float& logit : logits.data) logit = level;
      logits.data[static_cast<std::size_t>(vocabulary + 3)] = level + 64;  // row 1: one far above
      logits.data[static_cast<std::size_t>(2 * vocabulary)] = -level;      // row 2: a new highest, or lowest, first
      for (long j = 0; j + 1 < vocabulary; ++j)                            // row 3: all but the last one impossible
        logits.data[static_cast<std::size_t>(3 * vocabulary + j)] = -std::numeric_limits<float>::infinity();
      expect_rows(logits, {0, 3, 1, static_cast<std::int32_t>(vocabulary - 1)});
      expect_rows(logits, {5, 0, 0, static_cast<std::int32_t>(vocabulary - 1)});
    }
}

BOOST_AUTO_TEST_CASE(not_a_number) {
  Values logits = Values::random(2, 100, 6);
  logits.data[71] = poison;
  for (const std::int32_t target : {71, 3, 99}) {
    BOOST_TEST(std::isnan(on_device<float>(logits, {target, 1}, false).losses[0]));
    BOOST_TEST(!std::isnan(on_device<float>(logits, {target, 1}, false).losses[2]));
    BOOST_TEST(on_device<float>(logits, {target, 1}, true).correct[0] == 0);
  }
  BOOST_TEST(on_device<float>(logits, {-1, 1}, false).slopes[71] == 0);
}

BOOST_AUTO_TEST_CASE(sum_of_losses) {
  for (const long n : {0L, 1L, 77L, 5000L}) {
    const Values losses = Values::random(1, n, 7);
    double sum = 0;
    for (const float loss : losses.data) sum += static_cast<double>(loss);
    const auto memory = test::detail::upload(losses.data), factor = test::detail::upload(std::vector<float>{scale}),
               results = test::detail::upload(std::vector<float>{poison, poison, poison});
    auto* const to = results->as<float>();
    cuda::sum_losses(memory->as<float>(), n, factor->as<float>(), to, nullptr, {});
    cuda::sum_losses(memory->as<float>(), n, factor->as<float>(), nullptr, to + 1, {});
    std::array<float, 3> found{};
    results->get(found.data());
    BOOST_TEST(found[0] == static_cast<float>(sum * static_cast<double>(scale)), boost::test_tools::tolerance(1e-6F));
    BOOST_TEST(found[1] == static_cast<float>(sum), boost::test_tools::tolerance(1e-6F));
    BOOST_TEST(std::isnan(found[2]));
  }
}
