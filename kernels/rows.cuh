#pragma once
/// \file
/// Rows of a matrix as whole: put into places of another, or searched for their highest element.

#include "launch.cuh"

namespace linden::cuda {

/// Row i of `from` becomes row places[i] of `to`; both have rows of `columns` elements.
template <class T>
__global__ void scatter_row(const T* from, const std::int32_t* places, long columns, T* to) {
  const long i = blockIdx.x;
  for (long j = threadIdx.x; j < columns; j += blockDim.x) to[places[i] * columns + j] = from[i * columns + j];
}

/// Row i of `from` becomes row places[i] of `to`, in stream order.
template <class T>
void scatter_rows(const T* from, const std::int32_t* places, long rows, long columns, T* to, Stream stream) {
  launch("scatter_rows", {rows}, threads_for(columns, 4), stream, &scatter_row<T>, from, places, columns, to);
}

/// An element and its column.
struct Candidate {
  float value = Max::neutral;        ///< the element
  std::int32_t column = 0x7fffffff;  ///< its place in the row

  /// Whether it comes before the other: higher, or equal and further left.
  __device__ bool beats(const Candidate& other) const {
    return value > other.value || (value == other.value && column < other.column);
  }
};

/// The first of the highest elements of a row; column 0 where none is a number above minus infinity.
static __global__ void __launch_bounds__(1024) best_column(const float* elements, long columns, std::int32_t* best) {
  const float* const row = elements + blockIdx.x * columns;
  Candidate mine;
  for (long j = threadIdx.x; j < columns; j += blockDim.x) {
    const Candidate next{row[j], static_cast<std::int32_t>(j)};
    if (next.beats(mine)) mine = next;
  }
  const float highest = block_reduce(mine.value, Max{});
  // The lowest column among the threads that have the highest value: the largest of its negatives, exact below 2^24.
  const float column = block_reduce(mine.value == highest ? -static_cast<float>(mine.column) : Max::neutral, Max{});
  if (threadIdx.x == 0) best[blockIdx.x] = highest == Max::neutral ? 0 : static_cast<std::int32_t>(-column);
}

/// best[i] = the column of the highest element of row i, the first of equals. elements [rows, columns], columns below 2^24.
inline void best_columns(const float* elements, long rows, long columns, std::int32_t* best, Stream stream) {
  launch("best_columns", {rows}, threads_for(columns, 4), stream, &best_column, elements, columns, best);
}

}  // namespace linden::cuda
