#pragma once
/// \file
/// Causal grouped-query attention over packed sequences on a device; a block of scores at a time, never all of them.
/// Shapes   as in <linden/ops/attention.hpp>; head sizes up to 128, computed as the next of 16, 32, 48, 64, 128.
/// Forward  a block per tile of queries and head walks the keys its queries see; the softmax is kept up as it goes.
/// Backward from the saved log-sum-exp: sum(do o) of every query, kept in scratch memory; then dk and dv by a block
///          per tile of keys and kv head, which walks the queries of the group's heads; dq by a block per tile of
///          queries and head.
/// Tiles    bfloat16 on tensor cores, float by plain multiplication (attention_tiles.cuh); the kernels are the same.
/// Traffic  forward reads q and writes o once, and reads k and v once per tile of queries and head, mostly from the L2
///          cache, as the heads of a tile run side by side. dq reads k and v likewise; dk and dv read q twice and do
///          once per tile of keys and head. A tile is on its way while the one before it is being multiplied.
/// Grid     tiles do not cross sequences, so rows / tile + sequences blocks are enough whatever the spans are; a block
///          finds its tile by counting along the spans.
/// Order    fixed, no atomics: the same bits every time.
/// Instead  cuDNN's attention, where a device was given it and it serves (cudnn_attention.cuh).
/// Errors   DeviceError for a head size above 128.
/// Source   Dao 2023, arXiv:2307.08691.

#include <linden/ops/attention.hpp>

#include "attention_tiles.cuh"
#include "cudnn_attention.cuh"

namespace linden::cuda {

// ---- kernels ------------------------------------------------------------------------------------------------------

inline constexpr float log2_e = 1.4426950408889634F;  ///< 1 / ln 2

/// The softmax of rows whose scores come a block at a time: what has been seen so far.
template <class Tiles>
struct RunningSoftmax {
  float highest[Tiles::thread_rows], total[Tiles::thread_rows];  ///< of total only this thread's columns

  __device__ RunningSoftmax() {
    for (int r = 0; r < Tiles::thread_rows; ++r) {
      highest[r] = Max::neutral;
      total[r] = 0;
    }
  }
  /// scores become 2^(factor (scores - highest)); earlier sums shrink to the new highest score of their row.
  __device__ void add(typename Tiles::Scores& scores, typename Tiles::Sums& sums, float factor) {
    for (int r = 0; r < Tiles::thread_rows; ++r) {
      float top = highest[r];
      for (const float score : scores[r]) top = fmaxf(top, score);
      top = warp_reduce<Tiles::lanes_per_row>(top, Max{});
      const float shrink = fast_exp2((highest[r] - top) * factor);
      highest[r] = top;
      total[r] *= shrink;
      for (float& sum : sums[r]) sum *= shrink;
      for (float& score : scores[r]) {
        score = fast_exp2(fmaf(score, factor, -top * factor));
        total[r] += score;
      }
    }
  }
};

/// o and, if wanted, log-sum-exp of a tile of queries of one head. Grid {heads, tiles}; the last tiles, which see the
/// most keys, go first.
template <class Tiles, class T>
__global__ void __launch_bounds__(Tiles::threads, Tiles::size < 128 ? 3 : 2)
    attention(Operand<T> q, Operand<T> k, Operand<T> v, Operand<T> o, float* lse, long lse_stride,
              AttentionShape shape) {
  __shared__ Storage<T, Tiles::rows * Tiles::stride> query_memory;
  __shared__ Storage<T, Tiles::columns * Tiles::stride> stream_memory;
  __shared__ typename Tiles::Staging staging;
  T *const queries = query_memory.elements(), *const stream = stream_memory.elements();
  const SequenceTile at = find_tile<1>(shape, gridDim.y - 1 - blockIdx.y, Tiles::rows);
  if (at.rows == 0) return;
  const int head = static_cast<int>(blockIdx.x), kv_head = head / shape.group;
  const HeadRows<T> keys(k, at.first_key, at.keys, kv_head, shape.size),
      values(v, at.first_key, at.keys, kv_head, shape.size);
  const int end = at.first + Tiles::rows < at.queries ? at.visible(at.first + Tiles::rows - 1) : at.keys;

  Moving<T, Tiles, Tiles::columns> moving;
  moving.read(keys, 0, shape);
  read_rows<Tiles>(HeadRows<T>(q, at.first_query, at.queries, head, shape.size), at.first, shape, queries);
  typename Tiles::Sums sums{};
  RunningSoftmax<Tiles> softmax;
  for (int j = 0; j < end; j += Tiles::columns) {
    typename Tiles::Scores scores;
    moving.write(stream);
    __syncthreads();
    moving.read(values, j, shape);
    Tiles::multiply(queries, stream, scores);
    if (j + Tiles::columns > at.visible(at.first))
      for (int r = 0; r < Tiles::thread_rows; ++r) {
        const int visible = at.visible(at.first + Tiles::row(r)), limit = visible < at.keys ? visible : at.keys;
        for (int c = 0; c < Tiles::thread_columns; ++c)
          if (j + Tiles::column(c) >= limit) scores[r][c] = Max::neutral;
      }
    softmax.add(scores, sums, shape.scale * log2_e);
    __syncthreads();
    moving.write(stream);
    __syncthreads();
    if (j + Tiles::columns < end) moving.read(keys, j + Tiles::columns, shape);
    Tiles::add(scores, stream, sums, staging);
    __syncthreads();
  }
  float inverse[Tiles::thread_rows];
  for (int r = 0; r < Tiles::thread_rows; ++r) {
    const float total = warp_reduce<Tiles::lanes_per_row>(softmax.total[r], Plus{});
    inverse[r] = 1.0F / total;
    const int i = at.first + Tiles::row(r);
    if (lse != nullptr && i < at.queries && threadIdx.x % Tiles::lanes_per_row == 0)
      lse[(at.first_query + i) * lse_stride + head] = softmax.highest[r] * shape.scale + logf(total);
  }
  write_rows<Tiles>(sums, inverse, HeadRows<T>(o, at.first_query, at.queries, head, shape.size), at.first, shape,
                    queries);
}

inline constexpr int along_lanes = 8;  ///< lanes that share a row of one head

/// along [tokens, heads] = sum over a head's columns of o do, by along_lanes lanes each.
template <int Width, class T>
__global__ void attention_along(Operand<T> o, Operand<T> g, float* along, long heads, AttentionShape shape) {
  const long task = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) / along_lanes;
  const int lane = static_cast<int>(threadIdx.x) % along_lanes;
  const bool inside = task < o.rows * heads;
  float sum = 0;
  if (inside) {
    const long column = task % heads * shape.size;
    const T *const left = o.row(task / heads) + column, *const right = g.row(task / heads) + column;
    for (int e = lane * Width; e < shape.size; e += along_lanes * Width) {
      const auto of_left = load<Width>(left + e), of_right = load<Width>(right + e);
      for (int j = 0; j < Width; ++j) sum += to_float(of_left.at[j]) * to_float(of_right.at[j]);
    }
  }
  sum = warp_reduce<along_lanes>(sum, Plus{});
  if (inside && lane == 0) along[task] = sum;
}

/// What the backward kernels read of every query: log-sum-exp [tokens, heads] and sum(do o).
struct QuerySums {
  const float* lse;    ///< log-sum-exp, natural
  long lse_stride;     ///< elements from row to row
  const float* along;  ///< sum(do o), [tokens, heads]
  long heads;          ///< of queries

  /// log2 of the sum of exponentials: the base of the probabilities.
  __device__ float base(int row, int head) const { return lse[row * lse_stride + head] * log2_e; }
  /// sum(do o) of a query's head.
  __device__ float slope(int row, int head) const { return along[row * heads + head]; }
};

/// dq of a tile of queries of one head. Grid {heads, tiles}.
template <class Tiles, class T>
__global__ void __launch_bounds__(Tiles::threads, 2)
    attention_dq(Operand<T> q, Operand<T> k, Operand<T> v, Operand<T> g, QuerySums known, Operand<T> dq,
                 AttentionShape shape) {
  __shared__ Storage<T, Tiles::rows * Tiles::stride> query_memory, upstream_memory;
  __shared__ Storage<T, Tiles::columns * Tiles::stride> stream_memory;
  __shared__ typename Tiles::Staging staging;
  T *const queries = query_memory.elements(), *const upstream = upstream_memory.elements(),
           *const stream = stream_memory.elements();
  const SequenceTile at = find_tile<1>(shape, gridDim.y - 1 - blockIdx.y, Tiles::rows);
  if (at.rows == 0) return;
  const int head = static_cast<int>(blockIdx.x), kv_head = head / shape.group;
  const HeadRows<T> keys(k, at.first_key, at.keys, kv_head, shape.size),
      values(v, at.first_key, at.keys, kv_head, shape.size);
  const int end = at.first + Tiles::rows < at.queries ? at.visible(at.first + Tiles::rows - 1) : at.keys;

  Moving<T, Tiles, Tiles::columns> moving;
  moving.read(values, 0, shape);
  read_rows<Tiles>(HeadRows<T>(q, at.first_query, at.queries, head, shape.size), at.first, shape, queries);
  read_rows<Tiles>(HeadRows<T>(g, at.first_query, at.queries, head, shape.size), at.first, shape, upstream);
  float base[Tiles::thread_rows], slope[Tiles::thread_rows], factor[Tiles::thread_rows];
  for (int r = 0; r < Tiles::thread_rows; ++r) {
    const int i = at.first + Tiles::row(r);
    const bool inside = i < at.queries;
    base[r] = inside ? known.base(at.first_query + i, head) : 0;
    slope[r] = inside ? known.slope(at.first_query + i, head) : 0;
    factor[r] = shape.scale;
  }
  typename Tiles::Sums sums{};
  for (int j = 0; j < end; j += Tiles::columns) {
    typename Tiles::Scores scores, slopes;
    moving.write(stream);
    __syncthreads();
    moving.read(keys, j, shape);
    Tiles::multiply(upstream, stream, slopes);
    __syncthreads();
    moving.write(stream);
    __syncthreads();
    if (j + Tiles::columns < end) moving.read(values, j + Tiles::columns, shape);
    Tiles::multiply(queries, stream, scores);
    for (int r = 0; r < Tiles::thread_rows; ++r)
      for (int c = 0; c < Tiles::thread_columns; ++c) {
        const float p = fast_exp2(fmaf(scores[r][c], shape.scale * log2_e, -base[r]));
        slopes[r][c] = p * (slopes[r][c] - slope[r]);
      }
    if (j + Tiles::columns > at.visible(at.first))
      for (int r = 0; r < Tiles::thread_rows; ++r)
        for (int c = 0; c < Tiles::thread_columns; ++c)
          if (j + Tiles::column(c) >= at.visible(at.first + Tiles::row(r))) slopes[r][c] = 0;
    Tiles::add(slopes, stream, sums, staging);
    __syncthreads();
  }
  write_rows<Tiles>(sums, factor, HeadRows<T>(dq, at.first_query, at.queries, head, shape.size), at.first, shape,
                    queries);
}

/// dk and dv, as wanted, of a tile of keys of one kv head; rows of the scores are keys, columns queries. Grid {kv
/// heads, tiles}; the first tiles of a sequence, which the most queries see, go first.
template <class Tiles, class T>
__global__ void __launch_bounds__(Tiles::threads, 2)
    attention_dkv(Operand<T> q, Operand<T> k, Operand<T> v, Operand<T> g, QuerySums known, Operand<T> dk, Operand<T> dv,
                  AttentionShape shape) {
  __shared__ Storage<T, Tiles::rows * Tiles::stride> key_memory, value_memory;
  __shared__ Storage<T, Tiles::columns * Tiles::stride> stream_memory;
  __shared__ float base[Tiles::columns], slope[Tiles::columns];
  __shared__ typename Tiles::Staging staging;
  T *const keys = key_memory.elements(), *const values = value_memory.elements(),
           *const stream = stream_memory.elements();
  const SequenceTile at = find_tile<3>(shape, blockIdx.y, Tiles::rows);
  if (at.rows == 0) return;
  const int kv_head = static_cast<int>(blockIdx.x), unseen = at.first - (at.keys - at.queries),
            start = unseen > 0 ? unseen : 0;
  read_rows<Tiles>(HeadRows<T>(k, at.first_key, at.keys, kv_head, shape.size), at.first, shape, keys);
  read_rows<Tiles>(HeadRows<T>(v, at.first_key, at.keys, kv_head, shape.size), at.first, shape, values);

  Moving<T, Tiles, Tiles::columns> moving;
  typename Tiles::Sums key_sums{}, value_sums{};
  for (int member = 0; member < shape.group; ++member) {
    const int head = static_cast<int>(blockIdx.x) * shape.group + member;
    const auto rows_of = [&](const Operand<T>& x) {
      return HeadRows<T>(x, at.first_query, at.queries, head, shape.size);
    };
    moving.read(rows_of(q), start, shape);
    for (int i = start; i < at.queries; i += Tiles::columns) {
      typename Tiles::Scores scores, slopes;
      moving.write(stream);
      if (const int c = static_cast<int>(threadIdx.x); c < Tiles::columns) {
        const bool inside = i + c < at.queries;
        base[c] = inside ? known.base(at.first_query + i + c, head) : 0;
        slope[c] = inside ? known.slope(at.first_query + i + c, head) : 0;
      }
      __syncthreads();
      moving.read(rows_of(g), i, shape);
      Tiles::multiply(keys, stream, scores);
      for (int r = 0; r < Tiles::thread_rows; ++r)
        for (int c = 0; c < Tiles::thread_columns; ++c)
          scores[r][c] = fast_exp2(fmaf(scores[r][c], shape.scale * log2_e, -base[Tiles::column(c)]));
      if (i + Tiles::columns > at.queries || at.first + Tiles::rows > at.visible(i))
        for (int r = 0; r < Tiles::thread_rows; ++r)
          for (int c = 0; c < Tiles::thread_columns; ++c) {
            const int query = i + Tiles::column(c);
            if (query >= at.queries || at.first + Tiles::row(r) >= at.visible(query)) scores[r][c] = 0;
          }
      __syncthreads();
      moving.write(stream);
      __syncthreads();
      moving.read(rows_of(q), i, shape);
      Tiles::multiply(values, stream, slopes);
      Tiles::add(scores, stream, value_sums, staging);
      for (int r = 0; r < Tiles::thread_rows; ++r)
        for (int c = 0; c < Tiles::thread_columns; ++c)
          slopes[r][c] = scores[r][c] * (slopes[r][c] - slope[Tiles::column(c)]);
      __syncthreads();
      moving.write(stream);
      __syncthreads();
      if (i + Tiles::columns < at.queries) moving.read(rows_of(q), i + Tiles::columns, shape);
      Tiles::add(slopes, stream, key_sums, staging);
      __syncthreads();
    }
  }
  float scale[Tiles::thread_rows], one[Tiles::thread_rows];
  for (int r = 0; r < Tiles::thread_rows; ++r) {
    scale[r] = shape.scale;
    one[r] = 1;
  }
  __syncthreads();
  if (dk.data != nullptr)
    write_rows<Tiles>(key_sums, scale, HeadRows<T>(dk, at.first_key, at.keys, kv_head, shape.size), at.first, shape,
                      keys);
  if (dv.data != nullptr)
    write_rows<Tiles>(value_sums, one, HeadRows<T>(dv, at.first_key, at.keys, kv_head, shape.size), at.first, shape,
                      values);
}

/// Rows of x that are keys of no sequence become 0: block s clears those between sequences s - 1 and s.
template <class T>
__global__ void clear_unused_keys(Operand<T> x, AttentionShape shape) {
  const long s = blockIdx.x;
  const std::int32_t* const span = shape.spans + s * 4;
  const long first = s == 0 ? 0 : span[-2] + span[-1], last = s == shape.sequences ? x.rows : span[2];
  for (long i = threadIdx.x; i < (last - first) * x.columns; i += blockDim.x)
    x.row(first + i / x.columns)[i % x.columns] = from_float<T>(0);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

namespace detail {

/// Heads' rows of all operands can be read in packs.
template <class T, class... Operands>
bool packed(int size, const Operands&... operands) {
  const auto fits = [](const Operand<T>& x) {
    return x.stride % pack_size<T> == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  };
  return size % pack_size<T> == 0 && (fits(operands) && ...);
}

/// The shape of a call whose first input is q; whether it is packed is for the caller to say.
template <class T>
AttentionShape attention_shape(const Call<T>& call, const Operand<T>& spans) {
  const long heads = static_cast<long>(call.attributes[0]), kv_heads = static_cast<long>(call.attributes[1]);
  const int size = static_cast<int>(call.inputs[0].columns / heads);
  return {spans.ids,
          static_cast<int>(spans.rows),
          size,
          static_cast<int>(heads / kv_heads),
          1.0F / std::sqrt(static_cast<float>(size)),
          false};
}

/// Calls body.operator()<Size>() with the size in which heads of `size` columns are computed.
template <class Body>
void with_head_size(int size, Body&& body) {
  if (size <= 16)
    body.template operator()<16>();
  else if (size <= 32)
    body.template operator()<32>();
  else if (size <= 48)
    body.template operator()<48>();
  else if (size <= 64)
    body.template operator()<64>();
  else if (size <= 128)
    body.template operator()<128>();
  else
    throw DeviceError(text("linden::attention: heads of ", size, " columns; on a device at most 128"));
}

}  // namespace detail

template <>
struct Kernel<Attention> {
  template <class T>
  static long scratch(const Call<T>& call, const Queue& queue) {
    const FusedRun<T> fused(call, call.inputs[3], false, queue);
    return fused.serves() ? fused.scratch() : 0;
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    if (const FusedRun<T> fused(call, call.inputs[3], false, queue); fused.serves()) return fused.start();
    const Operand<T>&q = call.inputs[0], &k = call.inputs[1], &v = call.inputs[2], &o = call.results[0];
    AttentionShape shape = detail::attention_shape(call, call.inputs[3]);
    shape.packed = detail::packed<T>(shape.size, q, k, v, o);
    detail::with_head_size(shape.size, [&]<int Size>() {
      using Tile = Tiles<T, Size, false>;
      launch("attention", {q.columns / shape.size, blocks_for(q.rows, Tile::rows) + shape.sequences}, Tile::threads,
             queue.stream, &attention<Tile, T>, q, k, v, o, floats(call.results[1]), call.results[1].stride, shape);
    });
  }
};

template <>
struct Kernel<AttentionBackward> {
  template <class T>
  static long scratch(const Call<T>& call, const Queue& queue) {
    const FusedRun<T> fused(call, call.inputs[6], true, queue);
    return fused.serves() ? fused.scratch() : call.inputs[0].rows * static_cast<long>(call.attributes[0]);
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    if (const FusedRun<T> fused(call, call.inputs[6], true, queue); fused.serves()) return fused.start();
    const auto& [q, k, v, o, lse, g, spans, unused] = call.inputs;
    const Operand<T>&dq = call.results[0], &dk = call.results[1], &dv = call.results[2];
    AttentionShape shape = detail::attention_shape(call, spans);
    shape.packed = detail::packed<T>(shape.size, q, k, v, o, g, dq, dk, dv);
    const long heads = q.columns / shape.size;
    const QuerySums known{floats(lse), lse.stride, queue.scratch, heads};
    launch("attention_along", {blocks_for(q.rows * heads, 128 / along_lanes)}, 128, queue.stream,
           shape.packed ? &attention_along<pack_size<T>, T> : &attention_along<1, T>, o, g, queue.scratch, heads,
           shape);
    for (const Operand<T>* of_keys : {&dk, &dv})
      if (of_keys->data != nullptr)
        launch("clear_unused_keys", {shape.sequences + 1}, 256, queue.stream, &clear_unused_keys<T>, *of_keys, shape);
    detail::with_head_size(shape.size, [&]<int Size>() { gradients<Tiles<T, Size, true>>(call, known, shape, queue); });
  }

 private:
  template <class Tile, class T>
  static void gradients(const Call<T>& call, const QuerySums& known, const AttentionShape& shape, const Queue& queue) {
    const Operand<T>&q = call.inputs[0], &k = call.inputs[1], &v = call.inputs[2], &g = call.inputs[5];
    const Operand<T>&dq = call.results[0], &dk = call.results[1], &dv = call.results[2];
    if (dk.data != nullptr || dv.data != nullptr)
      launch("attention_dkv", {k.columns / shape.size, blocks_for(k.rows, Tile::rows) + shape.sequences}, Tile::threads,
             queue.stream, &attention_dkv<Tile, T>, q, k, v, g, known, dk, dv, shape);
    if (dq.data != nullptr)
      launch("attention_dq", {q.columns / shape.size, blocks_for(q.rows, Tile::rows) + shape.sequences}, Tile::threads,
             queue.stream, &attention_dq<Tile, T>, q, k, v, g, known, dq, shape);
  }
};

}  // namespace linden::cuda
