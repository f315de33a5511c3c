#pragma once
/// \file
/// Sums and maxima to a column, a row or one number, and the transpose, on a device.
/// Shapes   as in graph/sum.hpp, ops/reduce.hpp and ops/product.hpp.
/// Traffic  reads x once; results of many rows pass through at most 256 rows (or numbers) of floats in scratch memory.
///          The transpose reads and writes once, both along rows, through a tile in shared memory.
/// Order    fixed by the sizes: the same bits every time. Sums are float.
///          A maximum over something that is not a number is not a number.

#include <linden/ops/product.hpp>
#include <linden/ops/reduce.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// The larger one, or the one that is not a number.
struct MaxOrNan {
  /// The larger one, or the one that is not a number.
  __device__ float operator()(float a, float b) const { return a != a || b <= a ? a : b; }
  static constexpr float neutral = Max::neutral;  ///< changes nothing
};

// ---- kernels ---

/// y [M, 1]: every row of x [M, N] joined.
template <int Width, class Join, class T, class Result>
__global__ void join_columns(Operand<T> x, Operand<Result> y) {
  float value = Join::neutral;
  for (long j = threadIdx.x * Width; j < x.columns; j += blockDim.x * Width) {
    const auto in = load<Width>(x.row(blockIdx.x) + j);
    for (int e = 0; e < Width; ++e) value = Join{}(value, to_float(in.at[e]));
  }
  value = block_reduce(value, Join{});
  if (threadIdx.x == 0) *y.row(blockIdx.x) = from_float<Result>(value);
}

/// y [pieces, N]: `rows_per_piece` rows of x [M, N] after the other joined, in their order.
template <int Width, class Join, class T, class Result>
__global__ void join_rows(Operand<T> x, long rows_per_piece, Operand<Result> y) {
  const long j = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) * Width;
  if (j >= x.columns) return;
  const long first = blockIdx.y * rows_per_piece,
             last = first + rows_per_piece < x.rows ? first + rows_per_piece : x.rows;
  float value[Width];
  for (int e = 0; e < Width; ++e) value[e] = Join::neutral;
  for (long i = first; i < last; ++i) {
    const auto in = load<Width>(x.row(i) + j);
    for (int e = 0; e < Width; ++e) value[e] = Join{}(value[e], to_float(in.at[e]));
  }
  for (int e = 0; e < Width; ++e) y.row(blockIdx.y)[j + e] = from_float<Result>(value[e]);
}

/// y [1, blocks]: all elements of x joined, packs dealt to the blocks in turn.
template <int Width, class Join, class T>
__global__ void join_all(Operand<T> x, Operand<float> y) {
  const long count = x.rows * x.columns, step = static_cast<long>(gridDim.x) * blockDim.x * Width;
  float value = Join::neutral;
  for (long n = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) * Width; n < count; n += step) {
    const long i = x.rows == 1 ? 0 : n / x.columns;
    const auto in = load<Width>(x.row(i) + (n - i * x.columns));
    for (int e = 0; e < Width; ++e) value = Join{}(value, to_float(in.at[e]));
  }
  value = block_reduce(value, Join{});
  if (threadIdx.x == 0) y.data[blockIdx.x] = value;
}

/// to[0] = value.
template <class T>
__global__ void set_value(T* to, float value) {
  if (threadIdx.x == 0) *to = from_float<T>(value);
}

inline constexpr int tile_size = 32, tile_threads = 256;  ///< rows and columns of a tile; of a block

/// y [N, M] = x [M, N] transposed, a tile a block.
template <class T>
__global__ void transpose(Operand<T> x, Operand<T> y) {
  __shared__ T tile[tile_size][tile_size + 1];  // one more, so that a column lies in different banks
  const int lane = static_cast<int>(threadIdx.x) % tile_size, first = static_cast<int>(threadIdx.x) / tile_size;
  const long row = static_cast<long>(blockIdx.x) * tile_size, column = static_cast<long>(blockIdx.y) * tile_size;
  for (int k = first; k < tile_size; k += tile_threads / tile_size)
    if (row + k < x.rows && column + lane < x.columns) tile[k][lane] = x.row(row + k)[column + lane];
  __syncthreads();
  for (int k = first; k < tile_size; k += tile_threads / tile_size)
    if (column + k < y.rows && row + lane < y.columns) y.row(column + k)[row + lane] = tile[lane][k];
}

// ---- launchers ---

/// Joins x into y, which has its rows and one column, its columns and one row, or one element.
template <class Join>
class JoinTo {
 public:
  template <class T>
  static long scratch(const Call<T>& call, const Queue&) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    if (is_number(y)) return pieces_of_all(x);
    return is_row(x, y) && pieces_of_rows(x) > 1 ? pieces_of_rows(x) * x.columns : 0;
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    if (is_number(y))
      to_number(x, y, queue);
    else if (is_row(x, y))
      to_row(x, y, queue);
    else
      to_column(x, y, queue.stream);
  }

 private:
  static constexpr long least_rows = 32, elements_per_piece = 4096, most_pieces = 256;

  template <class T>
  static bool is_number(const Operand<T>& y) {
    return y.rows == 1 && y.columns == 1;
  }
  template <class T>
  static bool is_row(const Operand<T>& x, const Operand<T>& y) {
    return y.columns == x.columns && (y.rows != x.rows || x.rows == 1);
  }
  template <class T>
  static long rows_per_piece(const Operand<T>& x) {
    const long rows = blocks_for(x.rows, most_pieces);
    return rows < least_rows ? least_rows : rows;
  }
  template <class T>
  static long pieces_of_rows(const Operand<T>& x) {
    return x.rows == 0 ? 1 : blocks_for(x.rows, rows_per_piece(x));
  }
  template <class T>
  static long pieces_of_all(const Operand<T>& x) {
    const long pieces = blocks_for(x.rows * x.columns, elements_per_piece);
    return pieces > most_pieces ? most_pieces : pieces;
  }
  /// Partial results, [rows, columns].
  static Operand<float> partial(float* data, long rows, long columns) {
    Operand<float> sums;
    sums.data = data;
    sums.rows = rows;
    sums.columns = sums.stride = columns;
    return sums;
  }

  template <class T, class Result>
  static void to_column(const Operand<T>& x, const Operand<Result>& y, Stream stream) {
    with_width(
        [&]<int Width>() {
          launch("join_columns", {x.rows}, threads_for(x.columns, Width), stream, &join_columns<Width, Join, T, Result>,
                 x, y);
        },
        x);
  }
  template <class T>
  static void to_row(const Operand<T>& x, const Operand<T>& y, const Queue& queue) {
    const long pieces = pieces_of_rows(x);
    if (pieces == 1) return to_rows(x, x.rows, y, queue.stream);
    const Operand<float> sums = partial(queue.scratch, pieces, x.columns);
    to_rows(x, rows_per_piece(x), sums, queue.stream);
    to_rows(sums, pieces, y, queue.stream);
  }
  /// y [M / rows, N], rounded up.
  template <class T, class Result>
  static void to_rows(const Operand<T>& x, long rows, const Operand<Result>& y, Stream stream) {
    with_width(
        [&]<int Width>() {
          const int wanted = threads_for(x.columns, Width), threads = wanted < 128 ? wanted : 128;
          launch("join_rows", {blocks_for(x.columns, long{threads} * Width), y.rows}, threads, stream,
                 &join_rows<Width, Join, T, Result>, x, rows, y);
        },
        x);
  }
  template <class T>
  static void to_number(const Operand<T>& x, const Operand<T>& y, const Queue& queue) {
    Operand<T> all = x;
    if (x.stride == x.columns) {  // one long row
      all.columns = all.stride = x.rows * x.columns;
      all.rows = 1;
    }
    const Operand<float> sums = partial(queue.scratch, 1, pieces_of_all(x));
    with_width(
        [&]<int Width>() {
          launch("join_all", {sums.columns}, 256, queue.stream, &join_all<Width, Join, T>, all, sums);
        },
        all);
    to_column(sums, y, queue.stream);
  }
};

template <>
struct Kernel<SumTo> : JoinTo<Plus> {};
template <>
struct Kernel<MaxTo> : JoinTo<MaxOrNan> {};

template <>
struct Kernel<InverseCount> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>& x = call.inputs[0];
    const long count = (call.attributes[0] != 0 ? x.rows : 1) * (call.attributes[1] != 0 ? x.columns : 1);
    launch("inverse_count", {1}, warp_size, queue.stream, &set_value<T>, call.results[0].data,
           1.0F / static_cast<float>(count));
  }
};

template <>
struct Kernel<Transpose> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>& x = call.inputs[0];
    launch("transpose", {blocks_for(x.rows, tile_size), blocks_for(x.columns, tile_size)}, tile_threads, queue.stream,
           &transpose<T>, x, call.results[0]);
  }
};

}  // namespace linden::cuda
