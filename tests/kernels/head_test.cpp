#define BOOST_TEST_MODULE kernels_head
#include "../../kernels/head.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {
/// Targets of some tokens; the others have none.
Values targets_of(long tokens, long vocabulary) {
  std::vector<std::int32_t> ids;
  for (long t = 0; t < tokens; ++t) ids.push_back(t % 3 == 1 ? -100 : static_cast<std::int32_t>(t * 7 % vocabulary));
  return Values::of_ids(1, tokens, ids);
}
}  // namespace

BOOST_AUTO_TEST_CASE(loss_and_gradients_in_one_chunk_and_in_many) {
  for (const long tokens : {1L, 9L})
    for (const long vocabulary : {5L, 64L, 301L})
      for (const bool gradients : {false, true}) {
        const long before = std::exchange(cuda::logit_bytes, gradients ? 4 * 4 * vocabulary : cuda::logit_bytes);
        Case c;
        c.inputs = {Values::random(tokens, 24, 1), Values::random(vocabulary, 24, 2, 0.5F), targets_of(tokens, vocabulary),
                    Values::random(1, 1, 5).as_float()};
        c.results.assign(4, Values::result(1, 1).as_float());
        c.results[1] = gradients ? Values::result(tokens, 24, 8) : Values();
        c.results[2] = gradients ? Values::result(vocabulary, 24) : Values();
        expect_as_cpu<HeadCrossEntropy>(c);
        cuda::logit_bytes = before;
      }
}

BOOST_AUTO_TEST_CASE(scores) {
  for (const long tokens : {1L, 10L})
    expect_as_cpu<HeadScores>({{Values::random(tokens, 24, 3), Values::random(37, 24, 4), targets_of(tokens, 37)},
                               {Values::result(tokens, 1).as_float(), Values::result(tokens, 1).as_float()}});
}
