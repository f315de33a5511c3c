#pragma once
/// \file
/// AdamW over one flat buffer on a device, in place, with clipping by the gradient's norm: two launches, nothing from
/// the host in between.
/// Shapes   param, grad, m, v: [n] float; half: [n] bfloat16 or null. grad is read, the others are assigned.
/// Traffic  grad twice, param, m and v once each way, half written once: 34 bytes an element.
/// Order    fixed: squares are summed in double, in pieces that depend on n alone. Element arithmetic is float.
/// Errors   UsageError as in train/adamw.hpp. Where the norm is not finite as a float nothing is updated, and *norm,
///          which is not finite either, says so.
/// Source   <linden/train/adamw.hpp>, whose formulas these are.

#include <linden/train/adamw.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// The buffers of one step, on the device.
struct AdamWBuffers {
  float* param = nullptr;            ///< masters, updated
  const float* grad = nullptr;       ///< the gradients, read
  float *m = nullptr, *v = nullptr;  ///< the moments, updated
  bfloat16* half = nullptr;          ///< param rounded, for products; null: not wanted
};

// ---- norm ---

inline constexpr int adamw_threads = 256;  ///< of a block

/// Blocks that share n elements: enough to fill a device, few enough for each of them to add up the others' sums.
[[nodiscard]] constexpr long adamw_blocks(long n) {
  const long blocks = blocks_for(n, 8 * adamw_threads);
  return blocks < 1 ? 1 : blocks > 1024 ? 1024 : blocks;
}

/// pieces[b] = sum of squares of block b's packs, which the blocks take in turn.
template <int Width>
__global__ void sum_of_squares(const float* grad, long n, double* pieces) {
  const long whole = n - n % Width, step = static_cast<long>(gridDim.x) * blockDim.x * Width;
  const long thread = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  double sum = 0;
  const auto add = [&sum](float value) { sum += static_cast<double>(value) * static_cast<double>(value); };
  for (long i = thread * Width; i < whole; i += step) {
    const auto pack = load<Width>(grad + i);
    for (int e = 0; e < Width; ++e) add(pack.at[e]);
  }
  if (whole + thread < n) add(grad[whole + thread]);
  sum = block_reduce(sum, Plus{});
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
}

/// The norm from its pieces, the same in all threads of all blocks.
__device__ inline double norm_of(const double* pieces, long count) {
  double sum = 0;
  for (long k = threadIdx.x; k < count; k += blockDim.x) sum += pieces[k];
  return std::sqrt(block_reduce(sum, Plus{}));
}

// ---- update ---

/// Elements i to i + Width - 1, with the gradient grad * factor.
template <int Width>
__device__ inline void adamw_pack(const AdamWBuffers& buffers, long i, float factor, const AdamWStep<float>& step) {
  auto param = load<Width>(buffers.param + i), m = load<Width>(buffers.m + i), v = load<Width>(buffers.v + i);
  const auto grad = load<Width>(buffers.grad + i);
  Pack<bfloat16, Width> half;
  for (int e = 0; e < Width; ++e) {
    const float g = factor * grad.at[e];
    m.at[e] = step.beta1 * m.at[e] + step.new1 * g;
    v.at[e] = step.beta2 * v.at[e] + step.new2 * g * g;
    param.at[e] =
        step.decay * param.at[e] - step.rate * m.at[e] / (sqrtf(v.at[e]) * step.root_correction + step.epsilon);
    half.at[e] = from_float<bfloat16>(param.at[e]);
  }
  store(buffers.param + i, param);
  store(buffers.m + i, m);
  store(buffers.v + i, v);
  if (buffers.half != nullptr) store(buffers.half + i, half);
}

    /// Updates everything by a step with gradients clipped to max_norm, unless their norm is not finite; says that norm.
template <int Width>
__global__ void __launch_bounds__(adamw_threads)
    adamw_update(AdamWBuffers buffers, long n, const double* pieces, double max_norm, AdamWStep<float> step, float* norm) {
  const double exact = norm_of(pieces, gridDim.x);
  const auto rounded = static_cast<float>(exact);
  if (blockIdx.x == 0 && threadIdx.x == 0) *norm = rounded;
  if (!(rounded < __builtin_huge_valf())) return;
  const double clip = max_norm / (exact + 1e-6);
  const float factor = clip < 1 ? static_cast<float>(clip) : 1.0F;
  const long whole = n - n % Width, thread = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (long i = thread * Width; i < whole; i += static_cast<long>(gridDim.x) * blockDim.x * Width)
    adamw_pack<Width>(buffers, i, factor, step);
  if (whole + thread < n) adamw_pack<1>(buffers, whole + thread, factor, step);
}

// ---- launcher ---

/// Floats of queue.scratch that `adamw` needs.
[[nodiscard]] constexpr long adamw_scratch(long n) { return 2 * adamw_blocks(n); }

/// One step with the gradient grad * min(1, max_norm / (norm + 1e-6)); an infinite max_norm never clips. *norm becomes
/// the gradient's norm before clipping.
inline void adamw(const AdamWBuffers& buffers, long n, double max_norm, const AdamWStep<float>& step, float* norm,
                  const Queue& queue) {
  static_cast<void>(clip_factor(0, max_norm));  // refuses a max_norm that is not positive
  auto* const pieces = reinterpret_cast<double*>(queue.scratch);
  const auto run = [&]<int Width>() {
    launch("sum_of_squares", {adamw_blocks(n)}, adamw_threads, queue.stream, &sum_of_squares<Width>, buffers.grad, n,
           pieces);
    launch("adamw_update", {adamw_blocks(n)}, adamw_threads, queue.stream, &adamw_update<Width>, buffers, n, pieces,
           max_norm, step, norm);
  };
  const auto aligned = [](const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; };
  if (aligned(buffers.param) && aligned(buffers.grad) && aligned(buffers.m) && aligned(buffers.v) &&
      aligned(buffers.half))
    run.template operator()<pack_size<float>>();
  else
    run.template operator()<1>();
}

}  // namespace linden::cuda
