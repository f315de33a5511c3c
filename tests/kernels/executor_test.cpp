#define BOOST_TEST_MODULE kernels_executor
#include "../../kernels/executor.cuh"

#include <linden/backend/executor.hpp>

#include "kernels/kernel_test.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// Equation 7 and a gate after it: products, products added to products, fused loops, gradients added to gradients.
struct Layer {
  constexpr auto operator()(Expr<Shape<tokens, 24>> x, Frozen<Expr<Shape<32, 24>>> W, Expr<Shape<24, rank>> A,
                            Frozen<Expr<Shape<rank>>> p, Expr<Shape<rank, 32>> B) const {
    return silu(x * transpose(W) + x * A * diag(p) * B);
  }
};
using Plans = decltype(pullback<Keep::costly, 0, 2, 4>(Layer{}));

/// What goes in and comes out: host memory in double, or device memory.
struct Sizes {
  long n, r;
  [[nodiscard]] std::vector<long> elements() const {  // x W A p B dy | y dx dA dB
    return {n * 24, 32 * 24, 24 * r, r, r * 32, n * 32, n * 32, n * 24, 24 * r, r * 32};
  }
};

/// Forward and backward: y and the gradients; those of A and B are added to what is there.
template <class T, class G, class Memory>
void run(Memory& workspace, T* saved, const Sizes& s, const std::vector<T*>& at, G* dA, G* dB) {
  const TensorView<T, Shape<tokens, 24>> x(at[0], s.n), dx(at[7], s.n);
  const TensorView<T, Shape<32, 24>> W(at[1]);
  const TensorView<T, Shape<24, rank>> A(at[2], s.r);
  const TensorView<T, Shape<rank>> p(at[3], s.r);
  const TensorView<T, Shape<rank, 32>> B(at[4], s.r);
  const TensorView<T, Shape<tokens, 32>> dy(at[5], s.n);
  TensorView<T, Shape<tokens, 32>> y(at[6], s.n);
  run_forward(Plans{}, workspace, saved, y, x, W, A, p, B);
  run_backward(Plans{}, workspace, saved,
               std::tuple(dx, Accumulate{TensorView<G, Shape<24, rank>>(dA, s.r)}, Accumulate{TensorView<G, Shape<rank, 32>>(dB, s.r)}),
               dy, x, W, A, p, B);
}

std::size_t saved_elements(const Sizes& s) {
  return static_cast<std::size_t>(Plans::kept.pools.elements(linden::Sizes{}.set(tokens, s.n).set(rank, s.r)));
}

template <class T>
void check(const Sizes& s, double tolerance) {
  const std::vector<long> elements = s.elements();
  std::vector<std::vector<float>> values;
  for (std::size_t k = 0; k < elements.size(); ++k) {
    values.push_back(Values::random(1, elements[k], static_cast<std::uint32_t>(k), 0.5F).data);
    if (k < 6)
      for (float& value : values[k]) value = static_cast<float>(static_cast<T>(value));
  }

  std::vector<std::vector<double>> expected;
  std::vector<double*> host;
  for (const auto& v : values) expected.emplace_back(v.begin(), v.end());
  for (auto& e : expected) host.push_back(e.data());
  std::vector<double> saved(saved_elements(s));
  Workspace<double> workspace;
  run<double, double>(workspace, saved.data(), s, host, host[8], host[9]);

  cuda::Device device;
  cuda::Workspace<T> on_device(device);
  cuda::Buffer<T> kept(saved_elements(s));
  std::vector<cuda::Buffer<T>> memory;
  std::vector<T*> at;
  for (std::size_t k = 0; k < 8; ++k) {
    const std::vector<T> stored(values[k].begin(), values[k].end());
    memory.emplace_back(stored.size());
    if (k < 6) device.staging().upload(std::span<const T>(stored), memory.back().data(), device.stream());
    at.push_back(memory.back().data());
  }
  cuda::Buffer<float> dA(values[8].size()), dB(values[9].size());
  device.staging().upload(std::span<const float>(values[8]), dA.data(), device.stream());
  device.staging().upload(std::span<const float>(values[9]), dB.data(), device.stream());
  run<T, float>(on_device, kept.data(), s, at, dA.data(), dB.data());

  for (const std::size_t k : {6U, 7U}) {
    std::vector<T> found(values[k].size());
    cuda::download(at[k], std::span<T>(found), device.stream());
    BOOST_TEST(relative_error(std::vector<float>(found.begin(), found.end()), expected[k]) < tolerance, "tensor " << k);
  }
  std::vector<float> found_a(values[8].size()), found_b(values[9].size());
  cuda::download(dA.data(), std::span<float>(found_a), device.stream());
  cuda::download(dB.data(), std::span<float>(found_b), device.stream());
  BOOST_TEST(relative_error(found_a, expected[8]) < tolerance);
  BOOST_TEST(relative_error(found_b, expected[9]) < tolerance);
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_plan_on_the_device_in_float) {
  for (const long n : {1L, 5L, 64L})
    for (const long r : {1L, 3L, 16L}) check<float>({n, r}, float_tolerance);
}
BOOST_AUTO_TEST_CASE(a_plan_on_the_device_in_bfloat16) {
  for (const long n : {1L, 5L, 64L})
    for (const long r : {1L, 3L, 16L}) check<bfloat16>({n, r}, 2e-2);
}
