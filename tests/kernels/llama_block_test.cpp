#define BOOST_TEST_MODULE kernels_llama_block
#include <linden/backend/executor.hpp>
#include <linden/model/parameters.hpp>

#include "../../kernels/attention.cuh"
#include "../../kernels/executor.cuh"
#include "../../kernels/norm.cuh"
#include "../../kernels/rotary.cuh"
#include "kernels/kernel_test.hpp"
#include "support/small_llama.hpp"

using namespace linden;
using namespace linden::test;

namespace {

using Layer = LlamaLayer<Small>;
using Plans = decltype(pullback<Keep::costly, 0, 2>(Layer::AdaptedBlock{}));
const std::vector<std::int32_t> two_sequences{0, 5, 0, 5, 5, 3, 5, 3};
constexpr long token_count = 8;
using Spans = TensorView<const std::int32_t, Shape<sequences, 4>>;

/// A flat buffer's worth of a block's tensors; a part of it is read, a part is written.
template <class T, class G>
struct Tensors {
  TensorView<T, Shape<tokens, Small::hidden>> x, dy, y, dx;
  Layer::Weights<Bound<T>> weights;
  Layer::Angles<Bound<T>> angles;
  ModuleRows<Bound<T>> rows;
  Layer::Adapters<Bound<T>> adapters;
  Layer::Adapters<Bound<G>> gradients;
  Spans spans;
};

ModuleRanks ranks() {
  ModuleRanks each;
  each.of = {3, 2, 0, 4, 3, 1, 5};  // every kind its own; v has none
  return each;
}

/// Points the leaves of `record` into memory, one behind the other, from element `next` on; without memory only counts.
template <class T, class Record>
void place(Record& record, T* memory, std::size_t& next) {
  linden::Sizes sizes;
  ranks().bind(sizes.set(tokens, token_count));
  for_each_leaf(record, [&]<class L>(L& leaf) {
    const long rows = sizes.of(L::shape::row_count), columns = sizes.of(L::shape::column_count);
    leaf = L::strided(memory == nullptr ? nullptr : memory + next, rows, columns, columns).named(leaf.name());
    next += static_cast<std::size_t>(rows * columns + 15) / 16 * 16;
  });
}

/// Binds everything; \return {elements of T that are read, elements of T in all, elements of G}.
template <class T, class G>
std::array<std::size_t, 3> place_all(Tensors<T, G>& t, T* memory, G* gradients) {
  std::size_t elements = 0, gradient_elements = 0;
  const auto append = [&](auto&... records) { (place(records, memory, elements), ...); };
  append(t.x, t.dy, t.weights, t.angles, t.rows, t.adapters);
  const std::size_t read = elements;
  append(t.y, t.dx);
  place(t.gradients, gradients, gradient_elements);
  return {read, elements, gradient_elements};
}

template <class T, class G, class Memory>
void run(Memory& workspace, T* saved, Tensors<T, G>& t) {
  run_forward(Plans{}, workspace, saved, t.y, t.x, t.weights, t.adapters, t.rows, t.angles, t.spans);
  run_backward(Plans{}, workspace, saved, std::tuple(t.dx, Accumulate{t.gradients}), t.dy, t.x, t.weights, t.adapters, t.rows, t.angles,
               t.spans);
}

std::size_t saved_elements() {
  linden::Sizes sizes;
  ranks().bind(sizes.set(tokens, token_count).set(sequences, 2));
  return static_cast<std::size_t>(Plans::kept.pools.elements(sizes));
}

/// The block forward and backward on the device against the CPU in double, on the inputs as T has them.
template <class T>
void check_block(double tolerance) {
  Tensors<double, double> host{};
  const auto [read, all, factors] = place_all<double, double>(host, nullptr, nullptr);
  std::vector<double> memory(all), gradients(factors, 0.5);
  place_all(host, memory.data(), gradients.data());
  const std::vector<float> random = Values::random(1, static_cast<long>(read), 7, 0.5F).data;
  std::vector<T> inputs;
  for (std::size_t i = 0; i < read; ++i) {
    inputs.push_back(static_cast<T>(random[i]));
    memory[i] = static_cast<double>(static_cast<float>(inputs[i]));
  }
  host.spans = Spans(two_sequences.data(), 2);
  std::vector<double> saved(saved_elements());
  Workspace<double> workspace;
  run(workspace, saved.data(), host);

  cuda::Device device;
  cuda::Workspace<T> on_device(device);
  cuda::Buffer<T> device_memory(all), kept(saved_elements());
  cuda::Buffer<float> device_gradients(factors);
  cuda::Buffer<std::int32_t> spans(two_sequences.size());
  const std::vector<float> before(factors, 0.5F);
  device.staging().upload(std::span<const T>(inputs), device_memory.data(), device.stream());
  device.staging().upload(std::span<const float>(before), device_gradients.data(), device.stream());
  device.staging().upload(std::span<const std::int32_t>(two_sequences), spans.data(), device.stream());
  Tensors<T, float> there{};
  place_all(there, device_memory.data(), device_gradients.data());
  there.spans = Spans(spans.data(), 2);
  run(on_device, kept.data(), there);

  std::vector<T> stored(all);
  std::vector<float> found_gradients(factors);
  cuda::download(device_memory.data(), std::span<T>(stored), device.stream());
  cuda::download(device_gradients.data(), std::span<float>(found_gradients), device.stream());
  const std::vector<float> found(stored.begin(), stored.end());
  const std::size_t each = (all - read) / 2;  // y, then dx
  const auto error_from = [&](std::size_t first) {
    return relative_error(std::span(found).subspan(first, each), std::span<const double>(memory).subspan(first, each));
  };
  BOOST_TEST(error_from(read) < tolerance, "y");
  BOOST_TEST(error_from(read + each) < tolerance, "dx");
  BOOST_TEST(relative_error(found_gradients, gradients) < tolerance, "gradients of the factors");
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_block_in_float) { check_block<float>(float_tolerance); }
BOOST_AUTO_TEST_CASE(a_block_in_bfloat16) { check_block<bfloat16>(3e-2); }
