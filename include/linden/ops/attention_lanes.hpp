#pragma once
/// \file
/// Attention's inner products with queries as the lanes of vector registers: one lane is one query of one head, and the
/// heads that share keys and values lie side by side. So keys and values are read where they lie, a softmax over keys
/// needs no sum across lanes, and any head size fills the registers.

#include <linden/core/math.hpp>
#include <linden/core/scratch.hpp>
#include <linden/graph/op.hpp>
#include <linden/ops/gemm_tile.hpp>

namespace linden::detail {

/// Queries in a block.
template <class T>
inline constexpr long lanes = 2 * packet_size<T>;

/// One sequence's rows, from a row of `spans`.
struct Span {
  long first_query, queries, first_key, keys;

  explicit Span(const std::int32_t* row) : first_query(row[0]), queries(row[1]), first_key(row[2]), keys(row[3]) {}
  /// Keys that query i may see.
  [[nodiscard]] long visible(long i) const { return keys - queries + i + 1; }
};

/// One sequence and the query heads of one key-value head: lane t is query t / group of head t % group.
struct HeadGroup {
  Span span;
  long kv_head, group, d;

  [[nodiscard]] long lane_count() const { return span.queries * group; }
  [[nodiscard]] long query(long lane) const { return lane / group; }
  [[nodiscard]] long row(long lane) const { return span.first_query + query(lane); }
  [[nodiscard]] long head(long lane) const { return kv_head * group + lane % group; }
  /// The elements of lane's head in x [tokens, heads * d].
  template <class T>
  [[nodiscard]] T* elements(const Operand<T>& x, long lane) const {
    return x.row(row(lane)) + head(lane) * d;
  }
};

/// Some lanes of a head group.
struct LaneBlock {
  const HeadGroup& of;
  long first, count;

  /// Keys that any lane sees, and that every lane sees.
  [[nodiscard]] long keys() const { return of.span.visible(of.query(first + count - 1)); }
  [[nodiscard]] long common_keys() const { return of.span.visible(of.query(first)); }
  /// Lanes before this one do not see key j.
  [[nodiscard]] long first_that_sees(long j) const {
    return std::max(0L, (j - of.span.visible(0) + 1) * of.group - first);
  }
};

/// out [d, lanes] = scale * the lanes of x, lanes beyond the last 0.
template <class T>
void gather_lanes(const Operand<T>& x, const LaneBlock& block, T scale, T* out) {
  for (long t = 0; t < lanes<T>; ++t) {
    const T* const from = t < block.count ? block.of.elements(x, block.first + t) : nullptr;
    for (long l = 0; l < block.of.d; ++l) out[l * lanes<T> + t] = from == nullptr ? T(0) : scale * from[l];
  }
}

/// The lanes of x = factors * in [d, lanes].
template <class T>
void scatter_lanes(const T* in, const T* factors, const LaneBlock& block, const Operand<T>& x) {
  for (long t = 0; t < block.count; ++t) {
    T* const to = block.of.elements(x, block.first + t);
    for (long l = 0; l < block.of.d; ++l) to[l] = factors[t] * in[l * lanes<T> + t];
  }
}

/// out [count, d] = scale * the lanes of x.
template <class T>
void gather_rows(const Operand<T>& x, const LaneBlock& block, T scale, T* out) {
  for (long t = 0; t < block.count; ++t, out += block.of.d) {
    const T* const from = block.of.elements(x, block.first + t);
    for (long l = 0; l < block.of.d; ++l) out[l] = scale * from[l];
  }
}

/// Keys or values of one head, rows `stride` apart.
template <class T>
struct HeadRows {
  const T* data;
  long stride;
};

/// The keys or values x [keys, kv_heads * d] of a head group, copied close together where several blocks will read
/// them.
template <class Purpose, class T>
HeadRows<T> head_rows(const Operand<T>& x, const HeadGroup& of) {
  const HeadRows<T> there{x.row(of.span.first_key) + of.kv_head * of.d, x.stride};
  if (of.lane_count() <= lanes<T>) return there;
  T* const copy = scratch<Purpose, T>(static_cast<std::size_t>(of.span.keys * of.d));
  for (long j = 0; j < of.span.keys; ++j) std::copy_n(there.data + j * there.stride, of.d, copy + j * of.d);
  return {copy, of.d};
}

/// Calls body.operator()<rows>(first row) for tiles that cover `count` rows.
template <class Body>
void for_lane_tiles(long count, Body&& body) {
  constexpr int most = sum_registers >= 24 ? 8 : 4;
  long i = 0;
  for (; i + most <= count; i += most) body.template operator()<most>(i);
  for (; i < count; ++i) body.template operator()<1>(i);
}

template <int R, class T, class Left>
void lane_tile(long depth, const Left& a, const T* in, T* out) {
  Packet<T> sum[R][2];
  sum_tile(depth, a, in, lanes<T>, sum);
  for (int i = 0; i < R; ++i)
    for (int q = 0; q < 2; ++q) Eigen::internal::pstore(out + i * lanes<T> + q * packet_size<T>, sum[i][q]);
}

/// out [count, lanes] = A in, A [count, depth].
template <class T>
void rows_times_lanes(const HeadRows<T>& a, long count, long depth, const T* in, T* out) {
  for_lane_tiles(count, [&]<int R>(long i) {
    lane_tile<R>(depth, RowsPanel<T, R>(a.data + i * a.stride, a.stride, R), in, out + i * lanes<T>);
  });
}

/// out [count, lanes] = A^T in, A [depth, count].
template <class T>
void columns_times_lanes(const HeadRows<T>& a, long count, long depth, const T* in, T* out) {
  for_lane_tiles(count, [&]<int R>(long i) {
    lane_tile<R>(depth, ColumnsPanel<T>{a.data + i, a.stride}, in, out + i * lanes<T>);
  });
}

/// scores [keys, lanes]: what a lane does not see becomes minus infinity.
template <class T>
void hide_unseen(const LaneBlock& block, T* scores) {
  for (long j = block.common_keys(); j < block.keys(); ++j)
    std::fill_n(scores + j * lanes<T>, std::min(block.first_that_sees(j), lanes<T>),
                -std::numeric_limits<T>::infinity());
}

/// scores [keys, lanes] become exp(score - highest of the lane); total: their sums.
template <class T>
void exponentials_of_lanes(long keys, T* scores, T* highest, T* total) {
  using namespace Eigen::internal;
  for (long q = 0; q < lanes<T>; q += packet_size<T>) {
    Packet<T> most = pload<Packet<T>>(scores + q), sum = pset1<Packet<T>>(T(0));
    for (long j = 1; j < keys; ++j) most = pmax(most, pload<Packet<T>>(scores + j * lanes<T> + q));
    for (long j = 0; j < keys; ++j) {
      T* const at = scores + j * lanes<T> + q;
      const Packet<T> e = exp_packet<T>(psub(pload<Packet<T>>(at), most));
      pstore(at, e);
      sum = padd(sum, e);
    }
    pstore(highest + q, most);
    pstore(total + q, sum);
  }
}

/// p [keys, lanes]: scores become exp(score - log_sum), s [keys, lanes]: slopes of p become those of the scores,
/// p (s - along).
template <class T>
void probabilities_and_slopes(long keys, const T* log_sum, const T* along, T* p, T* s) {
  using namespace Eigen::internal;
  for (long q = 0; q < lanes<T>; q += packet_size<T>) {
    const Packet<T> log_q = pload<Packet<T>>(log_sum + q), along_q = pload<Packet<T>>(along + q);
    for (long at = q; at < keys * lanes<T>; at += lanes<T>) {
      const Packet<T> probability = exp_packet<T>(psub(pload<Packet<T>>(p + at), log_q));
      pstore(p + at, probability);
      pstore(s + at, pmul(probability, psub(pload<Packet<T>>(s + at), along_q)));
    }
  }
}

}  // namespace linden::detail
