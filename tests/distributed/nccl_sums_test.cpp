#define BOOST_TEST_MODULE nccl_sums
#include <linden/distributed/nccl_sums.hpp>
//
#include <boost/test/unit_test.hpp>
#include <vector>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;

int gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}
/// Enables a case where there is a GPU, or where there is none.
auto needs_gpu(bool wanted) {
  return [wanted](boost::unit_test::test_unit_id) {
    boost::test_tools::assertion_result here = (gpus() > 0) == wanted;
    here.message() << (wanted ? "SKIPPED: no GPU was found" : "SKIPPED: there is a GPU");
    return here;
  };
}
}  // namespace

BOOST_AUTO_TEST_CASE(without_a_gpu_it_is_refused, *boost::unit_test::precondition(needs_gpu(false))) {
  test::expect_refusal<DeviceError>([] { NcclSums sums(one_process()); }, "linden: cannot make a stream for sums between GPUs: ");
  BOOST_TEST(one_process().device_sums() == nullptr);
}

BOOST_AUTO_TEST_CASE(the_sum_of_one_process_is_what_it_has, *boost::unit_test::precondition(needs_gpu(true))) {
  cudaStream_t stream = nullptr;
  BOOST_REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  {
    NcclSums sums(one_process());
    BOOST_TEST(one_process().device_sums() == &sums);
    for (const std::size_t count : {std::size_t(1), std::size_t(1000), std::size_t(3) << 20U}) {
      std::vector<float> values(count), found(count);
      for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 1009) / 7.0F;
      float* there = nullptr;
      BOOST_REQUIRE(cudaMalloc(&there, count * sizeof(float)) == cudaSuccess);
      BOOST_REQUIRE(cudaMemcpyAsync(there, values.data(), count * sizeof(float), cudaMemcpyHostToDevice, stream) == cudaSuccess);
      sums.start(there, count / 2, stream);  // behind the copy
      sums.start(there + count / 2, count - count / 2, stream);
      sums.finish();
      BOOST_REQUIRE(cudaMemcpy(found.data(), there, count * sizeof(float), cudaMemcpyDeviceToHost) == cudaSuccess);
      BOOST_TEST((found == values));
      cudaFree(there);
    }
    BOOST_TEST(sums.bytes_sent() == 0);  // there is nobody to send to
  }
  BOOST_TEST(one_process().device_sums() == nullptr);
  cudaStreamDestroy(stream);
}
