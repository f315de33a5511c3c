#define BOOST_TEST_MODULE kernels_cudnn_attention
#include "../../kernels/cudnn_attention.cuh"

#include "../../kernels/attention.cuh"
#include "../../kernels/executor.cuh"
#include "kernels/attention_batch.hpp"

using namespace linden;
using namespace linden::test;
using cuda::FusedShape;
using cuda::FusedTensor;

namespace {

namespace utf = boost::unit_test;

boost::test_tools::assertion_result has_cudnn(utf::test_unit_id) {
#ifdef LINDEN_CUDNN
  return true;
#else
  boost::test_tools::assertion_result here = false;
  here.message() << "SKIPPED: this build has no cuDNN";
  return here;
#endif
}
const auto with_cudnn = utf::precondition(has_cudnn);

#ifdef __CUDACC__
/// cuDNN on the GPU; this is compiled where it was found.
std::unique_ptr<cuda::FusedAttention> make_fused() { return cuda::make_cudnn_attention(); }
#else
/// Attention in double, from what cuDNN is told and nothing else; runs when the stream does.
class Told final : public cuda::FusedAttention {
 public:
  explicit Told(int capability = 90) : capability_(capability) {}
  [[nodiscard]] int capability() const override { return capability_; }
  std::size_t workspace(const FusedShape&) override { return 1000; }
  void run(const FusedShape& shape, const cuda::FusedCall& call, void*) override {
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(call.workspace) % 16 == 0);
    cuda::simulated::start([shape, call] {
      std::memset(call.workspace, 0xff, 1000);
      for (long s = 0; s < shape.sequences; ++s)
        for (long kv_head = 0; kv_head < shape.kv_heads; ++kv_head) Sequence{shape, call, s, kv_head}.run();
    });
    ++runs;
  }

  static inline int runs = 0;

 private:
  struct Sequence {
    const FusedShape& shape;
    const cuda::FusedCall& call;
    long s, kv_head;

    [[nodiscard]] long queries() const { return call.lengths[s]; }
    [[nodiscard]] long keys() const { return call.lengths[shape.sequences + s]; }
    template <class T = bfloat16>
    [[nodiscard]] T* row(FusedTensor t, long i, long head) const {
      const long columns = t == FusedTensor::log_sums ? 1 : shape.size;
      return static_cast<T*>(call.data[static_cast<std::size_t>(t)]) +
             call.offsets[static_cast<long>(t) * (shape.sequences + 1) + s] + i * shape.stride(t) + head * columns;
    }
    [[nodiscard]] double dot(const bfloat16* a, const bfloat16* b) const {
      double sum = 0;
      for (int e = 0; e < shape.size; ++e) sum += static_cast<double>(float(a[e])) * static_cast<double>(float(b[e]));
      return sum;
    }
    [[nodiscard]] double score(long i, long j, long head) const {
      return dot(row(FusedTensor::q, i, head), row(FusedTensor::k, j, kv_head)) / std::sqrt(double(shape.size));
    }
    void add(std::vector<double>& to, long i, double factor, const bfloat16* from) const {
      for (int e = 0; e < shape.size; ++e)
        to[static_cast<std::size_t>(i * shape.size + e)] += factor * double(float(from[e]));
    }
    void write(FusedTensor t, long rows, long head, const std::vector<double>& from) const {
      for (long i = 0; i < rows; ++i)
        for (int e = 0; e < shape.size; ++e)
          row(t, i, head)[e] = bfloat16(static_cast<float>(from[static_cast<std::size_t>(i * shape.size + e)]));
    }
    [[nodiscard]] std::vector<double> zeros(long rows) const {
      return std::vector<double>(static_cast<std::size_t>(rows * shape.size));
    }

    void run() const { shape.backward() ? backward() : forward(); }
    void forward() const {
      for (long head = kv_head * group(); head < (kv_head + 1) * group(); ++head) {
        std::vector<double> o = zeros(queries());
        for (long i = 0; i < queries(); ++i) {
          double total = 0;
          for (long j = 0; j <= last(i); ++j) total += std::exp(score(i, j, head));
          for (long j = 0; j <= last(i); ++j)
            add(o, i, std::exp(score(i, j, head)) / total, row(FusedTensor::v, j, kv_head));
          if (shape.has(FusedTensor::log_sums))
            *row<float>(FusedTensor::log_sums, i, head) = static_cast<float>(std::log(total));
        }
        write(FusedTensor::o, queries(), head, o);
      }
    }
    void backward() const {
      std::vector<double> dk = zeros(keys()), dv = zeros(keys());
      for (long head = kv_head * group(); head < (kv_head + 1) * group(); ++head) {
        std::vector<double> dq = zeros(queries());
        for (long i = 0; i < queries(); ++i) {
          const bfloat16* const upstream = row(FusedTensor::upstream, i, head);
          const double along = dot(upstream, row(FusedTensor::o, i, head));
          for (long j = 0; j <= last(i); ++j) {
            const double p = std::exp(score(i, j, head) - double(*row<float>(FusedTensor::log_sums, i, head)));
            const double slope =
                p * (dot(upstream, row(FusedTensor::v, j, kv_head)) - along) / std::sqrt(double(shape.size));
            add(dq, i, slope, row(FusedTensor::k, j, kv_head));
            add(dk, j, slope, row(FusedTensor::q, i, head));
            add(dv, j, p, upstream);
          }
        }
        write(FusedTensor::dq, queries(), head, dq);
      }
      write(FusedTensor::dk, keys(), kv_head, dk);
      write(FusedTensor::dv, keys(), kv_head, dv);
    }
    [[nodiscard]] long group() const { return shape.heads / shape.kv_heads; }
    [[nodiscard]] long last(long i) const { return keys() - queries() + i; }
  };
  int capability_;
};

std::unique_ptr<cuda::FusedAttention> make_fused(int capability = 90) { return std::make_unique<Told>(capability); }

/// How often somebody else's attention ran in place of ours.
template <class Body>
int fused_runs(Body&& body) {
  const int before = Told::runs;
  body();
  return Told::runs - before;
}
#endif

#ifndef __CUDACC__
/// A plan with attention in it.
struct Attended {
  using Keys = Expr<Shape<tokens, 16>>;
  constexpr Expr<Shape<tokens, 32>> operator()(Expr<Shape<tokens, 32>> q, Keys k, Keys v,
                                               Ids<Shape<sequences, 4>> spans) const {
    return attention<2, 1>(q, k, v, spans);
  }
};
#endif

void expect_forward(Case c, cuda::FusedAttention& fused) {
  c.fused = &fused;
  expect_as_cpu<Attention, bfloat16>(c, bfloat16_tolerance);
}
void expect_backward(Case c, cuda::FusedAttention& fused) {
  c.fused = &fused;
  expect_as_cpu<AttentionBackward, bfloat16>(c, bfloat16_tolerance);
}
void expect_both(const Batch& batch, cuda::FusedAttention& fused) {
  expect_forward(batch.forward(), fused);
  expect_backward(batch.backward<bfloat16>(), fused);
}

}  // namespace

// On a GPU these compare cuDNN with the CPU; on the simulated grid, what cuDNN is told.

BOOST_AUTO_TEST_CASE(packed_sequences) {
  const auto fused = make_fused();
  for (const long size : {16L, 64L, 128L}) expect_both(training(4, 2, size, {66, 3}), *fused);
  for (const std::vector<int>& lengths : {std::vector<int>{40}, {5, 0, 2, 31, 0}, {64, 65, 1}, std::vector<int>(9, 7)})
    expect_both(training(2, 1, 16, lengths), *fused);
  expect_both(training(3, 3, 16, {40, 7}, 8), *fused);  // rows apart
}

BOOST_AUTO_TEST_CASE(what_one_saves_the_other_goes_backward_from) {
  const auto fused = make_fused();
  const Batch batch = training(4, 2, 64, {30, 20});
  Case c = batch.forward();
  c.fused = fused.get();
  const auto theirs = test::detail::on_device<Attention, bfloat16>(c);
  c.fused = nullptr;
  const auto ours = test::detail::on_device<Attention, bfloat16>(c);
  BOOST_TEST(relative_error(theirs[1], std::vector<double>(ours[1].begin(), ours[1].end())) < float_tolerance);
}

BOOST_AUTO_TEST_CASE(as_many_keys_as_queries_but_shared) {
  const auto fused = make_fused();
  const Batch shared{2, 2, 32, {0, 3, 0, 5, 3, 1, 0, 4, 4, 6, 2, 8}, 10, 10};
  expect_forward(shared.forward(), *fused);
}

BOOST_AUTO_TEST_CASE(without_log_sums) {
  const auto fused = make_fused();
  Case c = training(4, 1, 16, {40, 20}).forward();
  c.results[1] = Values::result(0, 0);
  expect_forward(c, *fused);
}

#ifndef __CUDACC__
BOOST_AUTO_TEST_CASE(whose_kernel_runs) {
  const auto fused = make_fused();
  const Batch served = training(2, 1, 16, {9, 4});
  // A test runs everything twice.
  BOOST_TEST(fused_runs([&] { expect_both(served, *fused); }) == 4);
  for (const int capability : {90, 100, 103}) {
    const auto there = make_fused(capability);
    BOOST_TEST(fused_runs([&] { expect_both(served, *there); }) == 4);
  }
  for (const int capability : {80, 89, 120}) {
    const auto there = make_fused(capability);
    BOOST_TEST(fused_runs([&] { expect_both(served, *there); }) == 0);
  }
  for (const Batch& batch : {training(2, 1, 24, {9, 4}),            // heads of 24 columns
                             training(2, 1, 16, {9, 4}, 3),         // rows that are not aligned
                             Batch{2, 1, 16, {0, 2, 1, 5}, 2, 7},   // keys in a cache
                             Batch{2, 1, 16, {0, 0, 0, 0}, 0, 0}})  // nothing
    BOOST_TEST(fused_runs([&] { expect_both(batch, *fused); }) == 0);
  BOOST_TEST(fused_runs([&] {
               Case c = served.forward();
               c.fused = fused.get();
               expect_as_cpu<Attention, float>(c, float_tolerance);
               for (std::size_t k = 0; k < 3; ++k) {
                 Case backward = served.backward<bfloat16>();
                 backward.results[k] = Values::result(0, 0);
                 expect_backward(backward, *fused);
               }
             }) == 0);
}

BOOST_AUTO_TEST_CASE(offsets_and_lengths) {
  FusedShape shape;
  shape.sequences = 4, shape.strides = {10, 3, 0, 0, 2};
  const std::vector<std::int32_t> spans{0, 5, 0, 6, 5, 2, 7, 2, 7, 1, 6, 3};
  std::vector<std::int64_t> offsets(cuda::fused_tensors * 5, -1);
  std::vector<std::int32_t> lengths(8, -1);
  cuda::launch("ragged_sequences", {1}, 32, nullptr, &cuda::ragged_sequences, spans.data(), 3L, 8L, shape,
               offsets.data(), lengths.data());
  cuda::simulated::finish();
  const auto of = [&](FusedTensor t) {
    const auto first = offsets.begin() + static_cast<long>(t) * 5;
    return std::vector<std::int64_t>(first, first + 5);
  };
  BOOST_TEST(of(FusedTensor::q) == (std::vector<std::int64_t>{0, 50, 70, 80, 80}), boost::test_tools::per_element());
  BOOST_TEST(of(FusedTensor::k) == (std::vector<std::int64_t>{0, 21, 18, 24, 24}), boost::test_tools::per_element());
  BOOST_TEST(of(FusedTensor::log_sums) == (std::vector<std::int64_t>{0, 10, 14, 16, 16}),
             boost::test_tools::per_element());
  BOOST_TEST(lengths == (std::vector<std::int32_t>{5, 2, 1, 0, 6, 2, 3, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_plan_is_replayed_without_allocations) {
  using namespace cuda::simulated;
  cuda::Device device;
  device.set_attention(make_fused());
  const cuda::OnDevice backend(device);
  cuda::Buffer<bfloat16> memory(96 * 20);
  backend.clear(memory.data(), memory.size());
  cuda::Buffer<std::int32_t> places;
  const std::vector<std::int32_t> spans{0, 12, 0, 12, 12, 8, 12, 8};
  const TensorView<const std::int32_t, Shape<sequences, 4>> placed(backend.place(std::span(spans), places), 2);
  const TensorView<bfloat16, Shape<tokens, 32>> q(memory.data(), 20), o(memory.data() + 64 * 20, 20);
  const TensorView<bfloat16, Shape<tokens, 16>> k(memory.data() + 32 * 20, 20), v(memory.data() + 48 * 20, 20);
  cuda::Workspace<bfloat16> workspace(device);
  const std::size_t replayed = replays;
  std::size_t allocated = 0;
  const int runs = fused_runs([&] {
    for (int step = 0; step < 4; ++step) {
      evaluate_into<decltype(compile(Attended{}))>(workspace, o, q, k, v, placed);
      if (step == 0) allocated = allocations;
    }
    device.wait();
  });
  BOOST_TEST(runs == 2);  // at first, and captured
  BOOST_TEST(replays == replayed + 3);
  BOOST_TEST(allocations == allocated);
}
#endif

BOOST_AUTO_TEST_CASE(sizes_share_graphs) {
  BOOST_TEST(cuda::fused_bound(1, 128) == 128);
  BOOST_TEST(cuda::fused_bound(128, 128) == 128);
  BOOST_TEST(cuda::fused_bound(129, 128) == 256);
  BOOST_TEST(cuda::fused_bound(3, 1) == 4);
  BOOST_TEST(cuda::fused_bound(0, 1) == 1);
}

// cuDNN's own check of the graphs needs no device.
BOOST_AUTO_TEST_CASE(cudnn_accepts_the_graphs, *with_cudnn) {
#ifdef LINDEN_CUDNN
  for (const int size : {16, 48, 64, 128}) {
    const long q = 32L * size, k = 8L * size;
    using Strides = std::array<long, cuda::fused_tensors>;
    for (const Strides& strides : {Strides{q, k, k, q}, Strides{q, k, k, q, 32}, Strides{q, k, k, q, 32, q, q, k, k}})
      for (const int capability : {90, 100})
        BOOST_CHECK_NO_THROW(cuda::validate_cudnn_attention({8, 4096, 32, 8, size, strides}, capability));
  }
#endif
}

BOOST_AUTO_TEST_CASE(what_cudnn_refuses_is_named, *with_cudnn) {
#ifdef LINDEN_CUDNN
  const FusedShape shape{8, 4096, 32, 8, 64, {2048, 512, 512, 2048, 32, 2048, 2048, 512, 512}};
  BOOST_CHECK_EXCEPTION(cuda::validate_cudnn_attention(shape, 80), DeviceError, [](const DeviceError& error) {
    const std::string said = error.what();
    return said.find(
               "cuDNN's attention, backward, of at most 8 sequences and 4096 tokens, 32 heads over 8 of size 64: "
               "not supported: ") != std::string::npos &&
           said.find("eterministic") != std::string::npos;
  });
#endif
}
