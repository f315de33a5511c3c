#pragma once
/// \file
/// Compares a device kernel with the CPU's kernel of the same operation. Under g++ the device is simulated
/// (simulated_grid.hpp, included by the compiler's command line), under nvcc it is the GPU; results begin poisoned, and
/// the device must give the same bits again.

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <linden/core/random.hpp>
#include <memory>
#include <span>
#include <vector>

#include "../../kernels/memory.cuh"
#include "../../kernels/product.cuh"

namespace linden::test {

#ifdef __CUDACC__
/// Where there is no GPU, the whole program is skipped, with exit code 77.
struct NeedsDevice {
  NeedsDevice() {
    if (cuda::device_count() > 0) return;
    std::puts("SKIPPED: no GPU was found");
    std::exit(77);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(NeedsDevice);
#endif

/// A matrix of values, with rows `stride` apart; or rows of ids.
struct Values {
  long rows = 0, columns = 0, stride = 0;
  std::vector<float> data;
  std::vector<std::int32_t> ids;
  bool wide = false;  ///< float on the device whatever T is

  [[nodiscard]] bool wanted() const { return rows > 0 && columns > 0; }
  [[nodiscard]] Values as_float() const {
    Values v = *this;
    v.wide = true;
    return v;
  }
  static Values random(long rows, long columns, std::uint32_t seed, float spread = 1, long gap = 0) {
    Values v{rows, columns, columns + gap, std::vector<float>(static_cast<std::size_t>(rows * (columns + gap))),
             {},   false};
    NormalRandom normal(seed);
    for (float& x : v.data) x = spread * static_cast<float>(normal());
    return v;
  }
  static Values of_ids(long rows, long columns, std::vector<std::int32_t> ids) {
    return {rows, columns, columns, {}, std::move(ids), false};
  }
  /// A result of this shape: NaN until written.
  static Values result(long rows, long columns, long gap = 0) {
    return {
        rows,
        columns,
        columns + gap,
        std::vector<float>(static_cast<std::size_t>(rows * (columns + gap)), std::numeric_limits<float>::quiet_NaN()),
        {},
        false};
  }
};

/// Memory of bytes on the device, filled from and copied to the host.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) : memory_(bytes + 16), bytes_(bytes) {}
  void put(const void* from) { cuda::check(cudaMemcpy(memory_.data(), from, bytes_, cudaMemcpyHostToDevice), "copy to the device"); }
  void get(void* to) const { cuda::check(cudaMemcpy(to, memory_.data(), bytes_, cudaMemcpyDeviceToHost), "copy from the device"); }
  template <class T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(memory_.data());
  }

 private:
  cuda::Buffer<char> memory_;
  std::size_t bytes_;
};

/// Inputs and results of one call. A result without rows or columns is not asked for.
struct Case {
  std::vector<Values> inputs, results;
  std::array<double, max_attributes> attributes{};
  bool accumulate = false;
  cuda::FusedAttention* fused = nullptr;  ///< the queue's
};

namespace detail {

/// The values as they are stored: rounded to T, or float.
template <class T>
float rounded(float value, bool wide) {
  return wide ? value : static_cast<float>(static_cast<T>(value));
}

/// The CPU's results in double, from the inputs as they are stored.
template <class Operation, class T>
std::vector<std::vector<double>> on_cpu(const Case& c) {
  Call<double> call;
  call.attributes = c.attributes;
  const auto in_double = [](const Values& v, bool keep) {
    std::vector<double> out;
    for (const float value : v.data) out.push_back(keep ? static_cast<double>(rounded<T>(value, v.wide)) : 0);
    return out;
  };
  std::vector<std::vector<double>> inputs, results;
  for (const Values& v : c.inputs) inputs.push_back(in_double(v, true));
  for (const Values& v : c.results) results.push_back(in_double(v, c.accumulate));
  for (std::size_t k = 0; k < c.inputs.size(); ++k) {
    const Values& v = c.inputs[k];
    call.inputs[k] = {
        .data = inputs[k].data(), .ids = v.ids.data(), .rows = v.rows, .columns = v.columns, .stride = v.stride};
  }
  for (std::size_t k = 0; k < c.results.size(); ++k) {
    const Values& v = c.results[k];
    call.results[k] = {.data = v.wanted() ? results[k].data() : nullptr,
                       .rows = v.rows,
                       .columns = v.columns,
                       .stride = v.stride,
                       .accumulate = c.accumulate};
  }
  Operation::cpu(call);
  return results;
}

/// Device memory with `values` in it.
template <class E>
std::unique_ptr<DeviceBytes> upload(const std::vector<E>& values) {
  auto memory = std::make_unique<DeviceBytes>(values.size() * sizeof(E));
  memory->put(values.data());
  return memory;
}

/// Puts `v` on the device and points `operand` there.
template <class T>
std::unique_ptr<DeviceBytes> upload(const Values& v, Operand<T>& operand) {
  operand.rows = v.rows;
  operand.columns = v.columns;
  operand.stride = v.stride;
  std::unique_ptr<DeviceBytes> memory;
  if (!v.ids.empty()) {
    memory = upload(v.ids);
    operand.ids = memory->as<std::int32_t>();
  } else if (v.wide && sizeof(T) != sizeof(float)) {
    memory = upload(v.data);
    operand.wide = memory->as<float>();
  } else {
    std::vector<T> elements;
    for (const float value : v.data) elements.push_back(static_cast<T>(value));
    memory = upload(elements);
    operand.data = memory->as<T>();
  }
  return memory;
}

template <class T>
std::vector<float> download(const Values& v, const Operand<T>& operand, const DeviceBytes& memory) {
  std::vector<float> values(v.data.size());
  if (operand.wide != nullptr) {
    memory.get(values.data());
  } else {
    std::vector<T> elements(v.data.size());
    memory.get(elements.data());
    std::copy(elements.begin(), elements.end(), values.begin());
  }
  return values;
}

/// The device's results.
template <class Operation, class T>
std::vector<std::vector<float>> on_device(const Case& c) {
  Call<T> call;
  call.attributes = c.attributes;
  std::vector<std::unique_ptr<DeviceBytes>> inputs, results;
  for (std::size_t k = 0; k < c.inputs.size(); ++k) inputs.push_back(upload(c.inputs[k], call.inputs[k]));
  for (std::size_t k = 0; k < c.results.size(); ++k) {
    results.push_back(nullptr);
    if (!c.results[k].wanted()) continue;
    results.back() = upload(c.results[k], call.results[k]);
    call.results[k].accumulate = c.accumulate;
  }
  cuda::Products products;  // of operations that are made of them
  cuda::Queue queue;
  queue.products = &products;
  std::unique_ptr<DeviceBytes> scratch;
  queue.fused = c.fused;
  if constexpr (requires { cuda::Kernel<Operation>::scratch(call, queue); }) {
    const auto count = static_cast<std::size_t>(cuda::Kernel<Operation>::scratch(call, queue));
    scratch = upload(std::vector<float>(count, std::numeric_limits<float>::quiet_NaN()));
    queue.scratch = scratch->template as<float>();
  }
  cuda::Kernel<Operation>::run(call, queue);
  std::vector<std::vector<float>> found(c.results.size());
  for (std::size_t k = 0; k < c.results.size(); ++k)
    if (results[k] != nullptr) found[k] = download(c.results[k], call.results[k], *results[k]);
  return found;
}

}  // namespace detail

/// Checks every result of `Operation` against the CPU in double: relative error (Euclidean norm over the result) below
/// `tolerance`, and what lies between rows untouched. Twice on the device: the same bits.
template <class Operation, class T>
void expect_as_cpu(const Case& c, double tolerance) {
  const auto expected = detail::on_cpu<Operation, T>(c);
  const auto found = detail::on_device<Operation, T>(c);
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = true;  // a missing barrier would show
#endif
  const auto again = detail::on_device<Operation, T>(c);
#ifndef __CUDACC__
  cuda::SimulatedBlock::reversed = false;
#endif
  for (std::size_t k = 0; k < c.results.size(); ++k) {
    const Values& v = c.results[k];
    if (!v.wanted()) continue;
    double difference = 0, norm = 0;
    bool gaps_kept = true, repeats = true;
    for (long i = 0; i < v.rows; ++i)
      for (long j = 0; j < v.stride; ++j) {
        const auto n = static_cast<std::size_t>(i * v.stride + j);
        const float value = found[k][n], second = again[k][n];
        repeats = repeats && (value == second || (std::isnan(value) && std::isnan(second)));
        if (j < v.columns) {
          difference += std::pow(static_cast<double>(value) - expected[k][n], 2);
          norm += std::pow(expected[k][n], 2);
        } else {
          gaps_kept = gaps_kept && (c.accumulate ? value == detail::rounded<T>(v.data[n], v.wide) : std::isnan(value));
        }
      }
    BOOST_TEST(std::sqrt(difference) <= tolerance * std::sqrt(norm),
               Operation::name << ", result " << k << " [" << v.rows << ", " << v.columns << "]: relative error "
                               << std::sqrt(difference / norm) << ", allowed " << tolerance);
    BOOST_TEST(gaps_kept, Operation::name << ", result " << k << ": memory between the rows was written");
    BOOST_TEST(repeats, Operation::name << ", result " << k << ": another run gave other bits");
  }
}

/// |found - expected| / |expected|, Euclidean norms; the difference itself where nothing but zeros is expected.
inline double relative_error(std::span<const float> found, std::span<const double> expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    norm += std::pow(expected[i], 2);
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

inline constexpr double float_tolerance = 1e-5, bfloat16_tolerance = 1e-2;

/// In float and in bfloat16.
template <class Operation>
void expect_as_cpu(const Case& c) {
  expect_as_cpu<Operation, float>(c, float_tolerance);
  expect_as_cpu<Operation, bfloat16>(c, bfloat16_tolerance);
}

}  // namespace linden::test
