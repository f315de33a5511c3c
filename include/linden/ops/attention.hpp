#pragma once
/// \file
/// Causal grouped-query attention over packed sequences of different lengths; no padding exists, none is computed.
/// Shapes  q [tokens, heads * d], k and v [keys, kv_heads * d], spans [sequences, 4] -> o [tokens, heads * d].
///         A row of spans is {first query row, queries, first key row, keys}: query i of a sequence sees its keys
///         0 .. keys - queries + i, so a training batch has queries == keys and decoding reads a longer cache.
///         Query head j uses kv head j / (heads / kv_heads). Scores are scaled by 1 / sqrt(d).
/// Memory  one block of scores per thread, some queries by all keys; the full score matrix never exists.
/// Order   one thread per (sequence, kv head): the same bits for any number of threads.
/// Errors  ShapeError for spans that do not hold every query once and in order, leave the keys, or see fewer keys than
///         queries; for gradients also where two sequences share keys. Keys of no sequence get the gradient 0.
/// Source  Dao 2023, arXiv:2307.08691 (backward from the saved log-sum-exp).

#include <linden/ops/attention_lanes.hpp>
#include <linden/ops/elementwise.hpp>
#include <linden/ops/gemm.hpp>

namespace linden {

namespace detail {

/// Refuses spans that are not those of `queries` query rows and `keys` key rows.
inline void check_spans(const std::int32_t* rows, long count, long queries, long keys, bool keys_apart) {
  long next_query = 0, next_key = 0;
  const auto refuse = [&](long sequence, const char* why) {
    throw ShapeError(text("linden::attention: sequence ", sequence, " of ", count, " has the span {", rows[4 * sequence], ", ",
                          rows[4 * sequence + 1], ", ", rows[4 * sequence + 2], ", ", rows[4 * sequence + 3], "} among ",
                          queries, " queries and ", keys, " keys: ", why));
  };
  for (long s = 0; s < count; ++s) {
    const Span span(rows + 4 * s);
    if (span.queries < 0 || span.first_query != next_query) refuse(s, "its queries must follow those of the sequence before");
    if (span.keys < span.queries) refuse(s, "it must see at least as many keys as it has queries");
    if (span.first_key < 0 || span.first_key + span.keys > keys) refuse(s, "its keys lie outside");
    if (keys_apart && span.first_key < next_key) refuse(s, "its keys must follow those of the sequence before");
    next_query += span.queries;
    next_key = span.first_key + span.keys;
  }
  if (next_query != queries)
    throw ShapeError(text("linden::attention: the spans hold ", next_query, " queries, expected ", queries));
}

/// Runs body(block, keys, values) for every sequence and key-value head, block by block of its queries. Which thread runs what
/// is fixed, so that each finds its scratch memory large enough when equal batches repeat.
template <class T, class Body>
void for_each_lane_block(const Call<T>& call, const Operand<T>& spans, Body&& body) {
  const Operand<T>&q = call.inputs[0], &k = call.inputs[1], &v = call.inputs[2];
  const long heads = static_cast<long>(call.attributes[0]), kv_heads = static_cast<long>(call.attributes[1]);
  const long tasks = spans.rows * kv_heads;
  LINDEN_OMP(omp parallel for schedule(static, 1) if (tasks > 1))
  for (long task = 0; task < tasks; ++task) {
    struct Keys;
    struct Values;
    const HeadGroup group{Span(spans.ids + (task / kv_heads) * 4), task % kv_heads, heads / kv_heads, q.columns / heads};
    const HeadRows<T> keys = head_rows<Keys>(k, group), values = head_rows<Values>(v, group);
    for (long first = 0; first < group.lane_count(); first += lanes<T>)
      body(LaneBlock{group, first, std::min(lanes<T>, group.lane_count() - first)}, keys, values);
  }
}

}  // namespace detail

/// Results: dq, dk, dv. Inputs: q, k, v, o, log-sum-exp, do, spans. attributes: {heads, kv_heads}.
struct AttentionBackward {
  static constexpr const char* name = "attention_backward";
  static constexpr int arity = 7;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>& spans = call.inputs[6];
    detail::check_spans(spans.ids, spans.rows, call.inputs[0].rows, call.inputs[1].rows, true);
    for (const Operand<T>* out : {&call.results[1], &call.results[2]})
      for (long j = 0; out->data != nullptr && j < out->rows; ++j) std::fill_n(out->row(j), out->columns, T(0));
    detail::for_each_lane_block(call, spans, [&](const auto& block, const auto& keys, const auto& values) {
      one_block(call, block, keys, values);
    });
  }

 private:
  /// The part of dq, dk and dv that comes from a block of queries.
  template <class T>
  static void one_block(const Call<T>& call, const detail::LaneBlock& block, const detail::HeadRows<T>& k,
                        const detail::HeadRows<T>& v) {
    constexpr long L = detail::lanes<T>;
    const auto& [q, unused_k, unused_v, o, lse, g, spans, unused] = call.inputs;
    const auto& [dq, dk, dv, none] = call.results;
    const detail::HeadGroup& of = block.of;
    const long keys = block.keys(), d = of.d;
    const T scale = T(1) / std::sqrt(static_cast<T>(d));
    struct Probabilities;
    struct Slopes;
    struct Lanes;
    struct Rows;
    T* const p = scratch<Probabilities, T>(static_cast<std::size_t>(L * of.span.keys));
    T* const s = scratch<Slopes, T>(static_cast<std::size_t>(L * of.span.keys));
    T* const by_lane = scratch<Lanes, T>(static_cast<std::size_t>(L * d));
    T* const by_row = scratch<Rows, T>(static_cast<std::size_t>(L * d));
    alignas(64) T log_sum[L] = {}, along[L] = {};
    T scales[L];
    std::fill_n(scales, L, scale);
    for (long t = 0; t < block.count; ++t) {
      const long lane = block.first + t;
      log_sum[t] = lse.row(of.row(lane))[of.head(lane)];
      along[t] = math::dot(of.elements(g, lane), of.elements(o, lane), d);
    }
    detail::gather_lanes(q, block, scale, by_lane);
    detail::rows_times_lanes(k, keys, d, by_lane, p);
    detail::hide_unseen(block, p);
    detail::gather_lanes(g, block, T(1), by_lane);
    detail::rows_times_lanes(v, keys, d, by_lane, s);
    detail::probabilities_and_slopes(keys, log_sum, along, p, s);
    const auto add_rows = [&](const T* slopes, const Operand<T>& of_what, T factor, const Operand<T>& to) {
      if (to.data == nullptr) return;
      detail::gather_rows(of_what, block, factor, by_row);
      gemm<T>(keys, d, block.count, {slopes, L}, {by_row, d}, to.row(of.span.first_key) + of.kv_head * d, to.stride, true);
    };
    add_rows(p, g, T(1), dv);
    add_rows(s, q, scale, dk);
    if (dq.data == nullptr) return;
    detail::columns_times_lanes(k, d, keys, s, by_lane);
    detail::scatter_lanes(by_lane, scales, block, dq);
  }
};

/// Results: o, and log-sum-exp of the scaled scores [tokens, heads]. Inputs: q, k, v, spans. attributes: {heads, kv_heads}.
struct Attention {
  static constexpr const char* name = "attention";
  static constexpr int arity = 4;
  static constexpr unsigned wide_results = 0b10;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>& spans = call.inputs[3];
    detail::check_spans(spans.ids, spans.rows, call.inputs[0].rows, call.inputs[1].rows, false);
    detail::for_each_lane_block(call, spans, [&](const auto& block, const auto& keys, const auto& values) {
      one_block(call, block, keys, values);
    });
  }

  static constexpr void vjp(Vjp& v) {
    const Node n = v.node(), k = symbolic::node(v.input(1));
    const Value lse = symbolic::result(v.output(), 1, n.rows, static_cast<long>(v.attribute(0)));
    const Value dq = symbolic::apply<AttentionBackward>(n.rows, n.columns, n.attributes, v.input(0), v.input(1), v.input(2),
                                                        v.output(), lse, v.upstream(), v.input(3));
    if (v.wants(0)) v.gradient(0, dq);
    if (v.wants(1)) v.gradient(1, symbolic::result(dq, 1, k.rows, k.columns));
    if (v.wants(2)) v.gradient(2, symbolic::result(dq, 2, k.rows, k.columns));
  }

 private:
  template <class T>
  static void one_block(const Call<T>& call, const detail::LaneBlock& block, const detail::HeadRows<T>& k,
                        const detail::HeadRows<T>& v) {
    constexpr long L = detail::lanes<T>;
    const Operand<T>&q = call.inputs[0], &o = call.results[0], &lse = call.results[1];
    const detail::HeadGroup& of = block.of;
    const long keys = block.keys(), d = of.d;
    struct Scores;
    struct Lanes;
    T* const scores = scratch<Scores, T>(static_cast<std::size_t>(L * of.span.keys));
    T* const by_lane = scratch<Lanes, T>(static_cast<std::size_t>(L * d));
    detail::gather_lanes(q, block, T(1) / std::sqrt(static_cast<T>(d)), by_lane);
    detail::rows_times_lanes(k, keys, d, by_lane, scores);
    detail::hide_unseen(block, scores);
    alignas(64) T highest[L], total[L];
    T inverse[L];
    detail::exponentials_of_lanes(keys, scores, highest, total);
    detail::columns_times_lanes(v, d, keys, scores, by_lane);
    for (long t = 0; t < L; ++t) inverse[t] = T(1) / total[t];
    detail::scatter_lanes(by_lane, inverse, block, o);
    for (long t = 0; lse.data != nullptr && t < block.count; ++t)
      lse.row(of.row(block.first + t))[of.head(block.first + t)] = highest[t] + std::log(total[t]);
  }
};

/// Attention of `Heads` query heads over `KvHeads` key-value heads.
template <long Heads, long KvHeads, long M, long K, long Q, long KV, long S>
constexpr Expr<Shape<M, Q>> attention(Expr<Shape<M, Q>> q, Expr<Shape<K, KV>> k, Expr<Shape<K, KV>> v,
                                      Ids<Shape<S, 4>> spans) {
  static_assert(Heads % KvHeads == 0, "linden::attention: heads must be a multiple of kv_heads");
  static_assert(Q % Heads == 0, "linden::attention: columns of q must be heads * head size");
  static_assert(KV == Q / Heads * KvHeads, "linden::attention: columns of k and v must be kv_heads * head size of q");
  return Expr<Shape<M, Q>>(symbolic::apply<Attention>(
      M, Q, {static_cast<double>(Heads), static_cast<double>(KvHeads)}, q, k, v, spans));
}

}  // namespace linden
