#define BOOST_TEST_MODULE kernels_rotary
#include "../../kernels/rotary.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

BOOST_AUTO_TEST_CASE(rotary_of_heads) {
  for (const long rows : {0L, 1L, 5L})
    for (const long head_size : {2L, 6L, 16L, 64L})
      for (const long heads : {1L, 3L, 40L})
        for (const double sign : {1.0, -1.0})
          expect_as_cpu<Rotary>({{Values::random(rows, heads * head_size, 1), Values::random(rows, head_size / 2, 2),
                                  Values::random(rows, head_size / 2, 3)},
                                 {Values::result(rows, heads * head_size)},
                                 {static_cast<double>(head_size), sign}});
}

BOOST_AUTO_TEST_CASE(rotary_of_strided_rows) {
  for (const long gap : {3L, 16L})
    expect_as_cpu<Rotary>({{Values::random(4, 96, 1, 1, gap), Values::random(4, 16, 2, 1, 5), Values::random(4, 16, 3)},
                           {Values::result(4, 96, 2 * gap)},
                           {32.0, 1.0}});
}

BOOST_AUTO_TEST_CASE(rotary_with_float_angles) {
  for (const long half : {2L, 4L, 16L})
    for (const long gap : {0L, 1L})
      expect_as_cpu<Rotary>({{Values::random(3, 64, 1), Values::random(3, half, 2).as_float(),
                              Values::random(3, half, 3, 1, gap).as_float()},
                             {Values::result(3, 64)},
                             {2.0 * static_cast<double>(half), -1.0}});
}

BOOST_AUTO_TEST_CASE(rotary_in_place) {
  const Values x = Values::random(3, 96, 1), cosine = Values::random(3, 16, 2), sine = Values::random(3, 16, 3);
  const auto turned = [&](bool in_place) {
    Call<float> call;
    call.attributes = {32.0, 1.0};
    const auto memory = test::detail::upload(x, call.inputs[0]), c = test::detail::upload(cosine, call.inputs[1]),
               s = test::detail::upload(sine, call.inputs[2]), other = test::detail::upload(x, call.results[0]);
    if (in_place) call.results[0] = call.inputs[0];
    cuda::Kernel<Rotary>::run(call, {});
    return test::detail::download(x, call.results[0], in_place ? *memory : *other);
  };
  BOOST_TEST(turned(true) == turned(false), boost::test_tools::per_element());
}
