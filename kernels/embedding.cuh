#pragma once
/// \file
/// Rows of a table by id, and the table's gradient, on a device: a block per token.
/// Shapes   as in ops/embedding.hpp. The table may be bfloat16 where T is float (Operand::half).
/// Traffic  embedding reads and writes a token's row once. Its backward clears the table once (unless it accumulates),
///          reads dy once and writes a row for every different id; it compares every two tokens' ids, from a cache.
/// Order    a row of the table is the sum of its tokens in their order, in float, rounded once. No atomics.

#include <linden/ops/embedding.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// y[t] = table[ids[t]], a row a block.
template <int Width, class T, class Stored>
__global__ void embedding(Operand<const Stored> table, const std::int32_t* ids, Operand<T> y) {
  const Stored* const from = table.row(ids[blockIdx.x]);
  T* const to = y.row(blockIdx.x);
  for (long j = threadIdx.x * Width; j < y.columns; j += blockDim.x * Width) {
    const auto in = load<Width>(from + j);
    Pack<T, Width> out;
    for (int e = 0; e < Width; ++e) out.at[e] = from_float<T>(to_float(in.at[e]));
    store(to + j, out);
  }
}

/// y [rows, columns] = 0.
template <int Width, class T>
__global__ void clear_rows(Operand<T> y) {
  Pack<T, Width> zeros;
  for (int e = 0; e < Width; ++e) zeros.at[e] = from_float<T>(0);
  for (long j = threadIdx.x * Width; j < y.columns; j += blockDim.x * Width) store(y.row(blockIdx.x) + j, zeros);
}

/// Calls visit(token) for the tokens from `first` on whose id is `id`, in order; a warp together.
template <class Visit>
__device__ inline void for_tokens_of(std::int32_t id, const std::int32_t* ids, long first, long tokens, Visit visit) {
  const long lane = threadIdx.x % warp_size;
  for (long chunk = first; chunk < tokens; chunk += warp_size) {
    unsigned found = __ballot_sync(0xffffffffU, chunk + lane < tokens && ids[chunk + lane] == id);
    for (long token = chunk; found != 0; ++token, found >>= 1U)
      if ((found & 1U) != 0) visit(token);
  }
}

/// The block of the first token with some id adds up the rows of dy of all tokens with that id.
template <int Width, class T>
__global__ void embedding_backward(Operand<const T> dy, const std::int32_t* ids, Operand<T> table) {
  const long token = blockIdx.x;
  const std::int32_t id = ids[token];
  float seen = 0;
  for (long t = threadIdx.x; t < token; t += blockDim.x) seen = ids[t] == id ? 1.0F : seen;
  if (block_reduce(seen, Max{}) > 0) return;
  const long lane = threadIdx.x % warp_size * Width, step = blockDim.x * Width;
  for (long tile = threadIdx.x / warp_size * (warp_size * Width); tile < table.columns; tile += step) {
    const long j = tile + lane;
    float sum[Width] = {};
    for_tokens_of(id, ids, token, dy.rows, [&](long t) {
      if (j >= table.columns) return;
      const auto in = load<Width>(dy.row(t) + j);
      for (int e = 0; e < Width; ++e) sum[e] += to_float(in.at[e]);
    });
    if (j >= table.columns) continue;
    auto out = load<Width>(table.row(id) + j);
    for (int e = 0; e < Width; ++e) put(&out.at[e], sum[e], table.accumulate);
    store(table.row(id) + j, out);
  }
}

template <>
struct Kernel<Embedding> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    if (call.inputs[0].half != nullptr)
      gather(call, call.inputs[0].half, queue);
    else
      gather(call, call.inputs[0].data, queue);
  }

 private:
  template <class T, class Stored>
  static void gather(const Call<T>& call, const Stored* rows, const Queue& queue) {
    const Operand<T>& y = call.results[0];
    Operand<const Stored> table;
    table.data = rows;
    table.columns = y.columns;
    table.stride = call.inputs[0].stride;
    if (y.columns == 0) return;
    with_width(
        [&]<int Width>() {
          launch("embedding", {y.rows}, threads_for(y.columns, Width), queue.stream,
                 &embedding<Width, T, std::remove_const_t<Stored>>, table, call.inputs[1].ids, y);
        },
        y, table);
  }
};

template <>
struct Kernel<EmbeddingBackward> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>& table = call.results[0];
    Operand<const T> dy;
    dy.data = call.inputs[0].data;
    dy.rows = call.inputs[1].columns;
    dy.columns = table.columns;
    dy.stride = call.inputs[0].stride;
    with_width(
        [&]<int Width>() {
          const int threads = threads_for(table.columns, Width);
          if (!table.accumulate)
            launch("clear_rows", {table.rows}, threads, queue.stream, &clear_rows<Width, T>, table);
          launch("embedding_backward", {dy.rows}, threads, queue.stream, &embedding_backward<Width, T>, dy,
                 call.inputs[1].ids, table);
        },
        table, dy);
  }
};

}  // namespace linden::cuda
