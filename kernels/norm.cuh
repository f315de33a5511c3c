#pragma once
/// \file
/// RMSNorm and softmax on a device, a block per row.
/// Traffic  rms_norm reads x twice (the second time from a cache) and writes y; its backward reads x, w and dy twice,
/// writes dx. Order    fixed, so the same bits every time. For dw a block sums some rows, a second kernel adds the
/// blocks' sums in order.

#include <linden/ops/norm.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// 1 / sqrt(mean(x^2) + eps) of one row, for all threads of the block.
template <int Width, class T>
__device__ inline float inverse_rms(const T* x, long n, float epsilon) {
  float sum = 0;
  for (long j = threadIdx.x * Width; j < n; j += blockDim.x * Width) {
    const auto in = load<Width>(x + j);
    for (int e = 0; e < Width; ++e) sum += to_float(in.at[e]) * to_float(in.at[e]);
  }
  return 1.0F / sqrtf(block_reduce(sum, Plus{}) / static_cast<float>(n) + epsilon);
}

/// y = x / rms(x) * w, a row a block.
template <int Width, class T>
__global__ void rms_norm(Operand<T> x, const T* w, Operand<T> y, float epsilon) {
  const T* const in = x.row(blockIdx.x);
  T* const out = y.row(blockIdx.x);
  const float s = inverse_rms<Width>(in, x.columns, epsilon);
  for (long j = threadIdx.x * Width; j < x.columns; j += blockDim.x * Width) {
    auto values = load<Width>(in + j);
    const auto weights = load<Width>(w + j);
    for (int e = 0; e < Width; ++e) values.at[e] = from_float<T>(to_float(values.at[e]) * s * to_float(weights.at[e]));
    store(out + j, values);
  }
}

/// dx = s (dy w - u mean(dy w u)) with s = 1 / rms(x), u = x s. `inverse`, if wanted, keeps s of every row.
template <int Width, class T>
__global__ void rms_norm_dx(Operand<T> x, const T* w, Operand<T> dy, Operand<T> dx, float* inverse, float epsilon) {
  const T *const in = x.row(blockIdx.x), *const g = dy.row(blockIdx.x);
  const float s = inverse_rms<Width>(in, x.columns, epsilon);
  if (inverse != nullptr && threadIdx.x == 0) inverse[blockIdx.x] = s;
  if (dx.data == nullptr) return;
  float sum = 0;
  for (long j = threadIdx.x * Width; j < x.columns; j += blockDim.x * Width) {
    const auto xs = load<Width>(in + j), gs = load<Width>(g + j), ws = load<Width>(w + j);
    for (int e = 0; e < Width; ++e) sum += to_float(gs.at[e]) * to_float(ws.at[e]) * to_float(xs.at[e]);
  }
  const float along = block_reduce(sum, Plus{}) * s * s / static_cast<float>(x.columns);
  for (long j = threadIdx.x * Width; j < x.columns; j += blockDim.x * Width) {
    auto xs = load<Width>(in + j);
    const auto gs = load<Width>(g + j), ws = load<Width>(w + j);
    for (int e = 0; e < Width; ++e)
      xs.at[e] = from_float<T>(s * (to_float(gs.at[e]) * to_float(ws.at[e]) - to_float(xs.at[e]) * along));
    store(dx.row(blockIdx.x) + j, xs);
  }
}

/// sums [piece, column] of dy x / rms(x) over the piece's rows, in their order.
template <class T>
__global__ void rms_norm_dw_pieces(Operand<T> x, Operand<T> dy, const float* inverse, long rows_per_piece,
                                   float* sums) {
  const long j = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x, first = blockIdx.y * rows_per_piece;
  if (j >= x.columns) return;
  const long last = first + rows_per_piece < x.rows ? first + rows_per_piece : x.rows;
  float sum = 0;
  for (long i = first; i < last; ++i) sum += to_float(dy.row(i)[j]) * to_float(x.row(i)[j]) * inverse[i];
  sums[blockIdx.y * x.columns + j] = sum;
}

/// to [1, n] = the sums of all pieces.
template <class T>
__global__ void add_pieces(const float* sums, long pieces, Operand<T> to) {
  const long j = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= to.columns) return;
  float sum = 0;
  for (long piece = 0; piece < pieces; ++piece) sum += sums[piece * to.columns + j];
  put(to.data + j, sum, to.accumulate);
}

/// y = softmax(x), a row a block.
template <class T>
__global__ void softmax(Operand<T> x, Operand<T> y) {
  const T* const in = x.row(blockIdx.x);
  float highest = Max::neutral, sum = 0;
  for (long j = threadIdx.x; j < x.columns; j += blockDim.x) highest = Max{}(highest, to_float(in[j]));
  highest = block_reduce(highest, Max{});
  for (long j = threadIdx.x; j < x.columns; j += blockDim.x) sum += expf(to_float(in[j]) - highest);
  const float total = block_reduce(sum, Plus{});
  for (long j = threadIdx.x; j < x.columns; j += blockDim.x)
    y.row(blockIdx.x)[j] = from_float<T>(expf(to_float(in[j]) - highest) / total);
}

template <>
struct Kernel<RmsNorm> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &w = call.inputs[1], &y = call.results[0];
    with_width(
        [&]<int Width>() {
          launch("rms_norm", {x.rows}, threads_for(x.columns, Width), queue.stream, &rms_norm<Width, T>, x, w.data, y,
                 static_cast<float>(call.attributes[0]));
        },
        x, w, y);
  }
};

template <>
struct Kernel<RmsNormBackward> {
  static constexpr long rows_per_piece = 64;  ///< rows whose share of dw is added up by one block

  template <class T>
  static long scratch(const Call<T>& call, const Queue&) {
    const Operand<T>& x = call.inputs[0];
    return call.results[1].data == nullptr ? 0 : x.rows + blocks_for(x.rows, rows_per_piece) * x.columns;
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &w = call.inputs[1], &dy = call.inputs[2], &dx = call.results[0],
          &dw = call.results[1];
    float* const inverse = dw.data == nullptr ? nullptr : queue.scratch;
    with_width(
        [&]<int Width>() {
          launch("rms_norm_dx", {x.rows}, threads_for(x.columns, Width), queue.stream, &rms_norm_dx<Width, T>, x,
                 w.data, dy, dx, inverse, static_cast<float>(call.attributes[0]));
        },
        x, w, dy, dx.data == nullptr ? dy : dx);
    if (dw.data == nullptr) return;
    const long pieces = blocks_for(x.rows, rows_per_piece), columns = blocks_for(x.columns, 128);
    float* const sums = queue.scratch + x.rows;
    launch("rms_norm_dw_pieces", {columns, pieces}, 128, queue.stream, &rms_norm_dw_pieces<T>, x, dy, inverse,
           rows_per_piece, sums);
    launch("add_pieces", {columns}, 128, queue.stream, &add_pieces<T>, sums, pieces, dw);
  }
};

template <>
struct Kernel<Softmax> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    if (x.columns == 0) return;
    launch("softmax", {x.rows}, threads_for(x.columns, 4), queue.stream, &softmax<T>, x, y);
  }
};

}  // namespace linden::cuda
