#pragma once
/// \file
/// What the benchmarks of the GPU backend share: timing by the device's events, and data to work on.

#include <cstdint>
#include <linden/core/random.hpp>

#include "../../kernels/llama.cuh"
#include "rate.hpp"

namespace linden::bench {

/// Runs `work` until the benchmark has seen enough, each time between two events of the device's stream. Three
/// times before, so that plans are captured.
template <class Work>
void time_on_device(benchmark::State& state, cuda::Device& device, Work&& work) {
  cudaEvent_t begin = nullptr, end = nullptr;
  cuda::check(cudaEventCreate(&begin), "cannot make an event");
  cuda::check(cudaEventCreate(&end), "cannot make an event");
  for (int warm = 0; warm < 3; ++warm) work();
  for (auto _ : state) {
    cuda::check(cudaEventRecord(begin, device.stream()), "cannot mark the time");
    work();
    cuda::check(cudaEventRecord(end, device.stream()), "cannot mark the time");
    cuda::check(cudaEventSynchronize(end), "the GPU's work failed");
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin, end), "cannot read the time");
    state.SetIterationTime(static_cast<double>(milliseconds) * 1e-3);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
}

/// Elements on the device: uniform in [-1, 1], a stretch of random numbers again and again.
template <class T>
cuda::Buffer<T> random_elements(cuda::Device& device, long count, float spread = 1) {
  std::vector<T> stretch(std::size_t(1) << 20U);
  TorchUniform uniform(7);
  for (T& element : stretch) element = static_cast<T>(uniform(-spread, spread));
  cuda::Buffer<T> memory(static_cast<std::size_t>(count));
  device.staging().upload(memory.size(), memory.data(), device.stream(), [&](T* elements, std::size_t first, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) elements[i] = stretch[(first + i) % stretch.size()];
  });
  device.wait();
  return memory;
}

/// The device, or a benchmark that is reported as skipped.
template <class Body>
void on_device(benchmark::State& state, Body&& body) {
  if (cuda::device_count() == 0) return state.SkipWithError("no GPU was found");
  cuda::Device device;
  body(device);
}

}  // namespace linden::bench
