#define BOOST_TEST_MODULE kernels_attention
#include "../../kernels/attention.cuh"

#include "kernels/attention_batch.hpp"

using namespace linden;
using namespace linden::test;

namespace {

void expect_backward(const Batch& batch) {
  expect_as_cpu<AttentionBackward, float>(batch.backward<float>(), float_tolerance);
  expect_as_cpu<AttentionBackward, bfloat16>(batch.backward<bfloat16>(), bfloat16_tolerance);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_head_size) {
  for (const long size : {1L, 12L, 16L, 32L, 48L, 64L, 72L, 128L}) {
    const Batch batch = training(1, 1, size, {66, 3});
    expect_as_cpu<Attention>(batch.forward());
    expect_backward(batch);
  }
}

BOOST_AUTO_TEST_CASE(sequences_of_all_lengths) {
  for (const std::vector<int>& lengths :
       {std::vector<int>{1}, {0, 2, 0, 1, 0}, {31, 32, 33}, {64, 65}, {63, 1, 130}, std::vector<int>(34, 1)}) {
    expect_as_cpu<Attention>(training(2, 1, 8, lengths).forward());
    std::vector<int> more = lengths;  // where a query sees one key, dq and dk are 0 but for rounding
    more.push_back(9);
    expect_backward(training(2, 1, 8, more));
  }
}

BOOST_AUTO_TEST_CASE(no_rows_or_no_sequences) {
  for (const std::vector<std::int32_t>& spans : {std::vector<std::int32_t>{}, {0, 0, 0, 0}, {0, 0, 1, 3}}) {
    Batch batch{2, 1, 8, spans, 0, 5};
    expect_as_cpu<Attention>(batch.forward());
    expect_backward(batch);
  }
}

BOOST_AUTO_TEST_CASE(rows_apart) {
  for (const long gap : {3L, 8L}) {
    const Batch batch = training(3, 3, 16, {40, 7}, gap);
    expect_as_cpu<Attention>(batch.forward());
    expect_backward(batch);
  }
}

BOOST_AUTO_TEST_CASE(longer_caches_than_queries) {
  const Batch decoding{4, 2, 16, {0, 1, 0, 200, 1, 1, 200, 1, 2, 1, 220, 77}, 3, 300};
  expect_as_cpu<Attention>(decoding.forward());
  const Batch shared{2, 2, 32, {0, 5, 10, 40, 5, 1, 10, 36, 6, 70, 0, 90}, 76, 90};  // keys of two sequences
  expect_as_cpu<Attention>(shared.forward());
  const Batch apart{4, 2, 32, {0, 5, 3, 100, 5, 70, 110, 75, 75, 0, 190, 4}, 75, 200};  // and keys of none
  expect_backward(apart);
  expect_as_cpu<Attention>(apart.forward());
}

BOOST_AUTO_TEST_CASE(large_scores) {
  Batch batch = training(1, 1, 64, {80});
  Case c = batch.forward();
  for (float& x : c.inputs[0].data) x *= 8;
  expect_as_cpu<Attention>(c);
}

BOOST_AUTO_TEST_CASE(results_nobody_wants) {
  const Batch batch = training(4, 1, 8, {40, 20});
  Case forward = batch.forward();
  forward.results[1] = Values::result(0, 0);
  expect_as_cpu<Attention>(forward);
  for (const unsigned wanted : {1U, 2U, 4U, 5U, 6U}) {
    Case backward = batch.backward<bfloat16>();
    for (unsigned k = 0; k < 3; ++k)
      if ((wanted >> k & 1U) == 0) backward.results[k] = Values::result(0, 0);
    expect_as_cpu<AttentionBackward, bfloat16>(backward, bfloat16_tolerance);
  }
}
