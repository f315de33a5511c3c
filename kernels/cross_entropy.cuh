#pragma once
/// \file
/// Cross-entropy of rows of logits on a device, a block per row: what runs between the products of head_cross_entropy
/// and head_scores, which take the tokens chunk by chunk,
///     logits = x W^T;  cross_entropy_rows(logits, ...);  dx = logits W;  dW += logits^T x;
/// and then, once, sum_losses(...).
/// Shapes   logits [count, V] of T; targets [count] ids; scale: one float; losses, correct: a float per row. A negative
///          target is none: loss and slopes of the row are 0, so that its row of dx becomes 0 too.
/// Traffic  reads the logits twice, the second time from the end, where a cache still holds them; writes the slopes
///          once. Without slopes it reads once. In packs where rows begin aligned to 16 bytes, whatever V is.
/// Order    fixed, so the same bits every time.
///          A logit that is not a number makes the loss not a number and the row not correct.
/// Source   Milakov & Gimelshein 2018, arXiv:1805.02867: maximum and sum in one pass.

#include "launch.cuh"

namespace linden::cuda {

/// A float for every row; null: not wanted.
struct FloatColumn {
  float* data = nullptr;  ///< the first of them
  long stride = 1;        ///< floats from row to row

  /// Sets the float of a row, where it is wanted.
  __device__ void set(long row, float value) const {
    if (data != nullptr) data[row * stride] = value;
  }
};

/// The largest of some numbers and the sum of exp(number - largest), of one thread's numbers until it is joined.
struct Exponentials {
  float highest = Max::neutral, sum = 0;  ///< of the numbers so far

  /// Takes some more numbers.
  template <class T, int Width>
  __device__ void add(const Pack<T, Width>& pack) {
    float above = highest;
    for (int e = 0; e < Width; ++e) above = Max{}(to_float(pack.at[e]), above);
    if (above > highest) {
      sum *= fast_exp(highest - above);
      highest = above;
    }
    for (int e = 0; e < Width; ++e) sum += fast_exp(to_float(pack.at[e]) - base());
  }
  /// Of all threads of the block, for all of them.
  __device__ Exponentials of_block() const {
    Exponentials all;
    all.highest = block_reduce(highest, Max{});
    all.sum = block_reduce(sum * fast_exp(highest - all.base()), Plus{});  // 0 of a thread without numbers
    return all;
  }
  /// What exponents are relative to: never infinite, whatever was added.
  __device__ float base() const { return highest == Max::neutral ? 0 : highest; }
  /// Minus the logarithm of the softmax at `logit`.
  __device__ float cross_entropy(float logit) const { return (highest - logit) + logf(sum); }
};

/// Calls visit(pack, its first column) for a row's packs, thread by thread of the block, and for what is left behind
/// the last whole pack as packs of one.
template <int Width, bool FromEnd, class T, class Visit>
__device__ inline void for_packs(T* row, long n, Visit visit) {
  const long whole = n - n % Width, step = static_cast<long>(blockDim.x) * Width, first = threadIdx.x * Width;
  const long steps = blocks_for(whole, step);
  for (long k = 0; k < steps; ++k) {
    const long j = (FromEnd ? steps - 1 - k : k) * step + first;
    if (j < whole) visit(load<Width>(row + j), j);
  }
  for (long j = whole + threadIdx.x; j < n; j += blockDim.x) visit(load<1>(row + j), j);
}

// ---- kernels ---

/// A row of logits becomes (softmax - one at `target`) * scale; a row without a target becomes 0.
template <int Width, class T>
__device__ inline void write_slopes(T* row, long n, const Exponentials& all, long target, float scale) {
  const float base = all.base(), factor = scale / all.sum;
  for_packs<Width, true>(row, n, [&]<int Wide>(Pack<T, Wide> pack, long j) {
    for (int e = 0; e < Wide; ++e) {
      const float slope = fast_exp(to_float(pack.at[e]) - base) * factor;
      pack.at[e] = from_float<T>(target < 0 ? 0 : j + e == target ? slope - scale : slope);
    }
    store(row + j, pack);
  });
}

/// The cross-entropy of row blockIdx.x; with `slopes` the row becomes scale * d(cross-entropy) / d(logits).
template <int Width, class T>
__global__ void __launch_bounds__(1024) cross_entropy_of_row(Operand<T> logits, const std::int32_t* targets,
                                                             const float* scale, bool slopes, FloatColumn losses) {
  T* const row = logits.row(blockIdx.x);
  const std::int32_t target = targets[blockIdx.x];
  Exponentials all;
  float loss = 0;
  if (target >= 0) {
    const float wanted = to_float(row[target]);
    for_packs<Width, false>(row, logits.columns, [&](const auto& pack, long) { all.add(pack); });
    all = all.of_block();
    loss = all.cross_entropy(wanted);
  }
  if (threadIdx.x == 0) losses.set(blockIdx.x, loss);
  if (slopes) write_slopes<Width>(row, logits.columns, all, target, *scale);
}

/// True when a logit of the pack that starts at column j comes before the target's: it is higher, or equal with a lower
/// id.
template <class T, int Width>
__device__ inline bool beats(const Pack<T, Width>& pack, long j, float wanted, long target) {
  bool any = false;
  for (int e = 0; e < Width; ++e) {
    const float logit = to_float(pack.at[e]);
    any = any || !(logit < wanted || (logit == wanted && j + e >= target));
  }
  return any;
}

    /// The cross-entropy of row blockIdx.x, and 1 where its target has the highest logit; both 0 where there is no target.
template <int Width, class T>
__global__ void __launch_bounds__(1024)
    score_of_row(Operand<T> logits, const std::int32_t* targets, FloatColumn losses, FloatColumn correct) {
  const T* const row = logits.row(blockIdx.x);
  const std::int32_t target = targets[blockIdx.x];
  float loss = 0, first = 0;
  if (target >= 0) {
    const float wanted = to_float(row[target]);
    Exponentials all;
    bool beaten = false;
    for_packs<Width, false>(row, logits.columns, [&](const auto& pack, long j) {
      all.add(pack);
      beaten = beaten || beats(pack, j, wanted, target);
    });
    loss = all.of_block().cross_entropy(wanted);
    first = block_reduce(beaten ? 1.0F : 0.0F, Max{}) > 0 ? 0.0F : 1.0F;
  }
  if (threadIdx.x != 0) return;
  losses.set(blockIdx.x, loss);
  correct.set(blockIdx.x, first);
}

/// One block adds up the losses in double.
static __global__ void sum_of_losses(const float* losses, long n, const float* scale, float* loss, float* unscaled) {
  double sum = 0;
  for (long i = threadIdx.x; i < n; i += blockDim.x) sum += static_cast<double>(losses[i]);
  sum = block_reduce(sum, Plus{});
  if (threadIdx.x != 0) return;
  if (loss != nullptr) *loss = static_cast<float>(sum * static_cast<double>(*scale));
  if (unscaled != nullptr) *unscaled = static_cast<float>(sum);
}

// ---- launchers ---

/// Calls `body.operator()<Width>()` with the widest pack that rows of logits can be read in, up to a rest.
template <class T, class Body>
void with_width_of_rows(Operand<T> logits, Body&& body) {
  logits.columns -= logits.columns % pack_size<T>;
  with_width(body, logits);
}

/// losses[i] = log-sum-exp of row i - its logit at targets[i]; with `slopes`, row i becomes the gradient of scale *
/// loss.
template <class T>
void cross_entropy_rows(const Operand<T>& logits, const std::int32_t* targets, const float* scale, bool slopes,
                        FloatColumn losses, Stream stream) {
  with_width_of_rows(logits, [&]<int Width>() {
    launch("cross_entropy_rows", {logits.rows}, threads_for(logits.columns, Width), stream,
           &cross_entropy_of_row<Width, T>, logits, targets, scale, slopes, losses);
  });
}

/// The same losses, and 1 in `correct` where the target's logit is the highest (the lowest id on ties), else 0.
template <class T>
void score_rows(const Operand<T>& logits, const std::int32_t* targets, FloatColumn losses, FloatColumn correct,
                Stream stream) {
  with_width_of_rows(logits, [&]<int Width>() {
    launch("score_rows", {logits.rows}, threads_for(logits.columns, Width), stream, &score_of_row<Width, T>, logits,
           targets, losses, correct);
  });
}

/// *unscaled = the sum of n losses, *loss = *scale times it; either may be null.
inline void sum_losses(const float* losses, long n, const float* scale, float* loss, float* unscaled, Stream stream) {
  launch("sum_losses", {1}, threads_for(n, 4), stream, &sum_of_losses, losses, n, scale, loss, unscaled);
}

}  // namespace linden::cuda
