#define BOOST_TEST_MODULE kernels_replay
#include "../../kernels/replay.cuh"

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {
static __global__ void add_one(float* x, long n) {
  for (long i = threadIdx.x; i < n; i += blockDim.x) x[i] += 1;
}

/// Five numbers on a stream of their own.
struct Numbers {
  cuda::Stream stream = nullptr;
  cuda::Buffer<float> memory{5};

  Numbers() {
    cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    cuda::check(cudaMemsetAsync(memory.data(), 0, 5 * sizeof(float), stream), "clear");
  }
  ~Numbers() { cudaStreamDestroy(stream); }
  void add() const { cuda::launch("add_one", {1}, 32, stream, &add_one, memory.data(), 5L); }
  [[nodiscard]] float first() const {
    std::vector<float> all(5);
    cuda::download(memory.data(), std::span(all), stream);
    return all[0];
  }
};
}  // namespace

// The body runs the first time, is captured the second, and is not called any more: but its work is done each time.
BOOST_FIXTURE_TEST_CASE(work_is_done_every_time_whoever_starts_it, Numbers) {
  cuda::Replays replays;
  int calls = 0;
  for (int k = 1; k <= 5; ++k) {
    replays.run({1, 2}, stream, [&] {
      ++calls;
      add();
      add();
    });
    BOOST_TEST(first() == 2.0F * static_cast<float>(k));
    BOOST_TEST(calls == std::min(k, 2));
  }
}

BOOST_FIXTURE_TEST_CASE(other_keys_are_other_work, Numbers) {
  cuda::Replays replays;
  int a = 0, b = 0;
  for (int k = 0; k < 3; ++k) {
    replays.run({1, 2}, stream, [&] { ++a, add(); });
    replays.run({1, 3}, stream, [&] { ++b, add(); });
  }
  BOOST_TEST(a == 2);
  BOOST_TEST(b == 2);
  BOOST_TEST(first() == 6.0F);
}

BOOST_FIXTURE_TEST_CASE(what_moved_is_started_anew, Numbers) {
  cuda::Replays replays;
  int calls = 0;
  const auto once = [&] { replays.run({7}, stream, [&] { ++calls, add(); }); };
  once(), once(), once();
  replays.clear();
  once();
  BOOST_TEST(calls == 3);
  BOOST_TEST(first() == 4.0F);
}

BOOST_FIXTURE_TEST_CASE(a_body_that_throws_leaves_the_stream_usable, Numbers) {
  cuda::Replays replays;
  const auto fail = [&] { throw DeviceError("no"); };
  BOOST_CHECK_THROW(replays.run({1}, stream, fail), DeviceError);
  replays.run({1}, stream, [&] { add(); });
  BOOST_CHECK_THROW(replays.run({1}, stream, fail), DeviceError);  // while it is captured
  replays.run({1}, stream, [&] { add(); });
  BOOST_TEST(first() == 2.0F);
}
