#define BOOST_TEST_MODULE kernels_norm
#include "../../kernels/norm.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

BOOST_AUTO_TEST_CASE(rms_norm_of_rows) {
  for (const long rows : {0L, 1L, 5L})
    for (const long columns : {1L, 31L, 64L, 2056L})
      for (const long gap : {0L, 3L})
        expect_as_cpu<RmsNorm>({{Values::random(rows, columns, 1, 1, gap), Values::random(1, columns, 2)},
                                {Values::result(rows, columns, gap)},
                                {1e-5}});
}

BOOST_AUTO_TEST_CASE(rms_norm_backward_of_rows) {
  for (const long rows : {1L, 7L, 130L})
    for (const long columns : {3L, 33L, 96L})
      for (const bool weights : {false, true})
        expect_as_cpu<RmsNormBackward>(
            {{Values::random(rows, columns, 3), Values::random(1, columns, 4), Values::random(rows, columns, 5)},
             {Values::result(rows, columns), weights ? Values::result(1, columns) : Values::result(0, 0)},
             {1e-5}});
}

BOOST_AUTO_TEST_CASE(softmax_of_rows) {
  for (const long rows : {0L, 1L, 4L})
    for (const long columns : {1L, 40L, 1000L})
      expect_as_cpu<Softmax>({{Values::random(rows, columns, 6, 4)}, {Values::result(rows, columns)}});
}
