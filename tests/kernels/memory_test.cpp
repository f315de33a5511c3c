#define BOOST_TEST_MODULE kernels_memory
#include "../../kernels/memory.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

// More than all pieces hold, in one go and in many: everything arrives, also where the source changes at once.
BOOST_AUTO_TEST_CASE(what_is_staged_arrives) {
  cuda::Stream stream = nullptr;
  cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  {
    cuda::Staging staging;
    const std::size_t count = 9 * cuda::Staging::piece_bytes / sizeof(float) + 3;
    std::vector<float> from(count);
    for (std::size_t i = 0; i < count; ++i) from[i] = static_cast<float>(i % 65537);
    cuda::Buffer<float> whole(count);
    staging.upload(std::span<const float>(from), whole.data(), stream);

    constexpr std::size_t small = 70000, times = 300;
    cuda::Buffer<std::int32_t> parts(small * times);
    std::vector<std::int32_t> part(small);
    for (std::size_t k = 0; k < times; ++k) {
      std::ranges::fill(part, static_cast<std::int32_t>(k));
      staging.upload(std::span<const std::int32_t>(part), parts.data() + k * small, stream);
    }
    std::ranges::fill(part, -1);

    std::vector<float> found(count);
    cuda::download(whole.data(), std::span(found), stream);
    BOOST_TEST((found == from));
    std::vector<std::int32_t> all(small * times);
    cuda::download(parts.data(), std::span(all), stream);
    bool right = true;
    for (std::size_t i = 0; i < all.size(); ++i) right = right && all[i] == static_cast<std::int32_t>(i / small);
    BOOST_TEST(right);
  }
  cudaStreamDestroy(stream);
}

BOOST_AUTO_TEST_CASE(a_buffer_grows_and_moves) {
  cuda::Buffer<float> buffer;
  BOOST_TEST(buffer.size() == 0U);
  buffer.reserve(10);
  float* const first = buffer.data();
  buffer.reserve(5);
  BOOST_TEST(buffer.data() == first);
  cuda::Buffer<float> other(std::move(buffer));
  BOOST_TEST(other.data() == first);
  BOOST_TEST(buffer.data() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_device_that_is_not_there_is_named) {
  const int count = cuda::device_count();
  BOOST_CHECK_EXCEPTION(cuda::use_device(count), DeviceError, [&](const DeviceError& error) {
    return error.what() == text("linden: GPU ", count, " was asked for, there are ", count);
  });
}

#ifndef __CUDACC__
BOOST_AUTO_TEST_CASE(memory_that_is_not_there_is_counted) {
  using cuda::simulated::free_memory;
  const std::size_t all = std::exchange(free_memory, 1000);
  cuda::Buffer<float> buffer(100);
  BOOST_CHECK_EXCEPTION(buffer.reserve(300), DeviceError, [](const DeviceError& error) {
    return std::string(error.what()).starts_with("linden: 1200 bytes were needed on the GPU, 1000 of ");
  });
  buffer.reserve(200);  // the failure left it usable
  BOOST_TEST(buffer.size() == 200U);
  free_memory = all;
}
BOOST_AUTO_TEST_CASE(without_a_device_it_says_so) {
  cuda::simulated::devices = 0;
  BOOST_CHECK_EXCEPTION(cuda::use_device(), DeviceError, [](const DeviceError& error) {
    return std::string(error.what()) == "linden: no GPU was found (is the NVIDIA driver loaded?); run on the CPU instead";
  });
  cuda::simulated::devices = 1;
}
BOOST_AUTO_TEST_CASE(a_device_without_code_for_it_is_named) {
  cuda::simulated::has_code = false;
  BOOST_CHECK_EXCEPTION(cuda::use_device(), DeviceError, [](const DeviceError& error) {
    return std::string(error.what()).find("not compiled for a simulated grid (compute capability 9.0, 16 GiB)") != std::string::npos;
  });
  cuda::simulated::has_code = true;
}
#endif
