#define BOOST_TEST_MODULE kernels_embedding
#include "../../kernels/embedding.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// `count` ids below `vocabulary`, most of them often, and every third one the same.
Values ids(long count, long vocabulary) {
  std::vector<std::int32_t> all;
  for (long t = 0; t < count; ++t)
    all.push_back(static_cast<std::int32_t>(t % 3 == 0 ? vocabulary / 2 : t * t * 7 % vocabulary));
  return Values::of_ids(1, count, all);
}

}  // namespace

BOOST_AUTO_TEST_CASE(rows_by_id) {
  for (const long tokens : {0L, 1L, 40L})
    for (const long columns : {1L, 24L, 33L, 1033L, 2056L})
      for (const long gap : {0L, 8L, 3L})
        expect_as_cpu<Embedding>(
            {{Values::random(17, columns, 1, 1, gap), ids(tokens, 17)}, {Values::result(tokens, columns, 2 * gap)}});
}

BOOST_AUTO_TEST_CASE(rows_of_a_bfloat16_table) {
  for (const long columns : {5L, 64L}) {
    const Values table = Values::random(9, columns, 1);
    const Values tokens = ids(7, 9);
    const std::vector<bfloat16> stored(table.data.begin(), table.data.end());
    const auto on_device = test::detail::upload(stored);
    Call<float> call;
    const auto id_memory = test::detail::upload(tokens, call.inputs[1]);
    const auto memory = test::detail::upload(Values::result(7, columns), call.results[0]);
    call.inputs[0].half = on_device->as<bfloat16>();
    call.inputs[0].rows = 9;
    call.inputs[0].columns = call.inputs[0].stride = columns;
    cuda::Kernel<Embedding>::run(call, {});
    const auto found = test::detail::download(Values::result(7, columns), call.results[0], *memory);
    for (long t = 0; t < 7; ++t)
      for (long j = 0; j < columns; ++j)
        BOOST_TEST(found[static_cast<std::size_t>(t * columns + j)] ==
                   float(stored[static_cast<std::size_t>(tokens.ids[static_cast<std::size_t>(t)] * columns + j)]));
  }
}

BOOST_AUTO_TEST_CASE(gradient_of_the_table) {
  for (const long tokens : {1L, 2L, 33L, 150L})
    for (const long columns : {1L, 24L, 33L, 264L})
      for (const long gap : {0L, 8L}) {
        Case c{{Values::random(tokens, columns, 1, 1, gap), ids(tokens, 17)}, {Values::result(17, columns, gap)}};
        expect_as_cpu<EmbeddingBackward>(c);
        c.accumulate = true;
        c.results = {Values::random(17, columns, 2, 1, gap)};
        expect_as_cpu<EmbeddingBackward>(c);
      }
}

BOOST_AUTO_TEST_CASE(gradient_of_a_wide_table) {  // wider than a block of single elements
  expect_as_cpu<EmbeddingBackward>({{Values::random(5, 1033, 1), ids(5, 3)}, {Values::result(3, 1033)}});
}

BOOST_AUTO_TEST_CASE(gradient_of_no_tokens_is_zero) {
  expect_as_cpu<EmbeddingBackward>({{Values::random(0, 24, 1), ids(0, 5)}, {Values::result(5, 24)}});
}
