#pragma once
/// \file
/// Causal grouped-query attention over packed sequences of different lengths; no padding exists, none is computed.
/// Shapes  q [tokens, heads * d], k and v [keys, kv_heads * d], spans [sequences, 4] -> o [tokens, heads * d].
///         A row of spans is {first query row, queries, first key row, keys}: query i of a sequence sees its keys
///         0 .. keys - queries + i, so a training batch has queries == keys and decoding reads a longer cache.
///         Query head j uses kv head j / (heads / kv_heads). Scores are scaled by 1 / sqrt(d).
/// Memory  one block of scores per thread; the full score matrix never exists.
/// Order   one thread per (sequence, kv head): the same bits for any number of threads.
/// Errors  ShapeError for spans that do not hold every query once and in order, leave the keys, or see fewer keys than
///         queries; for gradients also where two sequences share keys. Keys of no sequence get the gradient 0.
/// Source  Dao 2023, arXiv:2307.08691 (backward from the saved log-sum-exp).

#include <linden/core/scratch.hpp>
#include <linden/ops/gemm.hpp>
#include <linden/ops/elementwise.hpp>

namespace linden {

namespace detail {

/// One sequence's rows, from a row of `spans`.
struct Span {
  long first_query, queries, first_key, keys;

  explicit Span(const std::int32_t* row) : first_query(row[0]), queries(row[1]), first_key(row[2]), keys(row[3]) {}
  /// Keys that query i may see.
  [[nodiscard]] long visible(long i) const { return keys - queries + i + 1; }
};

inline constexpr long query_block = 32;

template <class T>
Factor<T> head_rows(const Operand<T>& x, long first_row, long first_column, bool transposed = false) {
  return {x.row(first_row) + first_column, x.stride, transposed};
}

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

/// Runs body(span, kv head) for every sequence and kv head. Which thread runs what is fixed, so that each finds its scratch
/// memory large enough when equal batches repeat.
template <class T, class Body>
void for_each_kv_head(const Operand<T>& spans, long kv_heads, Body&& body) {
  const long tasks = spans.rows * kv_heads;
  LINDEN_OMP(omp parallel for schedule(static, 1) if (tasks > 1))
  for (long task = 0; task < tasks; ++task) body(Span(spans.ids + (task / kv_heads) * 4), task % kv_heads);
}

}  // namespace detail

/// Results: dq, dk, dv. Inputs: q, k, v, o, log-sum-exp, do, spans. attributes: {heads, kv_heads}.
struct AttentionBackward {
  static constexpr const char* name = "attention_backward";
  static constexpr int arity = 7;

  template <class T>
  static void cpu(const Call<T>& call) {
    const long heads = static_cast<long>(call.attributes[0]), kv_heads = static_cast<long>(call.attributes[1]);
    const long d = call.inputs[0].columns / heads, group = heads / kv_heads;
    const Operand<T>& spans = call.inputs[6];
    detail::check_spans(spans.ids, spans.rows, call.inputs[0].rows, call.inputs[1].rows, true);
    for (const Operand<T>* out : {&call.results[1], &call.results[2]})
      for (long j = 0; out->data != nullptr && j < out->rows; ++j) std::fill_n(out->row(j), out->columns, T(0));
    detail::for_each_kv_head(spans, kv_heads, [&](const detail::Span& span, long kv_head) {
      for (long head = kv_head * group; head < (kv_head + 1) * group; ++head)
        for (long i = 0; i < span.queries; i += detail::query_block)
          one_block(call, span, i, std::min(detail::query_block, span.queries - i), head, kv_head, d);
    });
  }

 private:
  /// The part of dq, dk and dv that comes from `count` queries of one head.
  template <class T>
  static void one_block(const Call<T>& call, const detail::Span& span, long first, long count, long head, long kv_head,
                        long d) {
    const auto& [q, k, v, o, lse, g, spans, unused] = call.inputs;
    const auto& [dq, dk, dv, none] = call.results;
    const long keys = span.visible(first + count - 1), row = span.first_query + first;
    const T scale = T(1) / std::sqrt(static_cast<T>(d));
    struct Probabilities;
    struct Scores;
    T* const p = scratch<Probabilities, T>(static_cast<std::size_t>(detail::query_block * span.keys));
    T* const s = scratch<Scores, T>(static_cast<std::size_t>(detail::query_block * span.keys));
    const auto query = detail::head_rows(q, row, head * d), upstream = detail::head_rows(g, row, head * d);
    gemm<T>(count, keys, d, query, detail::head_rows(k, span.first_key, kv_head * d, true), p, keys, false);
    gemm<T>(count, keys, d, upstream, detail::head_rows(v, span.first_key, kv_head * d, true), s, keys, false);
    for (long i = 0; i < count; ++i) {
      T *const pi = p + i * keys, *const si = s + i * keys;
      const long visible = span.visible(first + i);
      const T log_sum = lse.row(row + i)[head];
      const T along = math::dot(g.row(row + i) + head * d, o.row(row + i) + head * d, d);
      LINDEN_INDEPENDENT
      for (long j = 0; j < visible; ++j) {
        pi[j] = math::exp(pi[j] * scale - log_sum);
        si[j] = pi[j] * (si[j] - along) * scale;
      }
      std::fill(pi + visible, pi + keys, T(0));
      std::fill(si + visible, si + keys, T(0));
    }
    const Factor<T> probabilities{p, keys, true}, slopes{s, keys, false}, slopes_transposed{s, keys, true};
    if (dv.data != nullptr)
      gemm<T>(keys, d, count, probabilities, upstream, dv.row(span.first_key) + kv_head * d, dv.stride, true);
    if (dk.data != nullptr)
      gemm<T>(keys, d, count, slopes_transposed, query, dk.row(span.first_key) + kv_head * d, dk.stride, true);
    if (dq.data != nullptr)
      gemm<T>(count, d, keys, slopes, detail::head_rows(k, span.first_key, kv_head * d), dq.row(row) + head * d,
                         dq.stride, false);
  }
};

/// Results: o, and log-sum-exp of the scaled scores [tokens, heads]. Inputs: q, k, v, spans. attributes: {heads, kv_heads}.
struct Attention {
  static constexpr const char* name = "attention";
  static constexpr int arity = 4;
  static constexpr unsigned wide_results = 0b10;

  template <class T>
  static void cpu(const Call<T>& call) {
    const long heads = static_cast<long>(call.attributes[0]), kv_heads = static_cast<long>(call.attributes[1]);
    const long d = call.inputs[0].columns / heads, group = heads / kv_heads;
    const Operand<T>& spans = call.inputs[3];
    detail::check_spans(spans.ids, spans.rows, call.inputs[0].rows, call.inputs[1].rows, false);
    detail::for_each_kv_head(spans, kv_heads, [&](const detail::Span& span, long kv_head) {
      for (long head = kv_head * group; head < (kv_head + 1) * group; ++head)
        for (long i = 0; i < span.queries; i += detail::query_block)
          one_block(call, span, i, std::min(detail::query_block, span.queries - i), head, kv_head, d);
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
  static void one_block(const Call<T>& call, const detail::Span& span, long first, long count, long head, long kv_head,
                        long d) {
    const Operand<T>&q = call.inputs[0], &k = call.inputs[1], &v = call.inputs[2];
    const Operand<T>&o = call.results[0], &lse = call.results[1];
    const long keys = span.visible(first + count - 1), row = span.first_query + first;
    const T scale = T(1) / std::sqrt(static_cast<T>(d));
    struct Scores;
    T* const scores = scratch<Scores, T>(static_cast<std::size_t>(detail::query_block * span.keys));
    gemm<T>(count, keys, d, detail::head_rows(q, row, head * d),
                       detail::head_rows(k, span.first_key, kv_head * d, true), scores, keys, false);
    for (long i = 0; i < count; ++i) {
      T* const s = scores + i * keys;
      const long visible = span.visible(first + i);
      const T highest = math::max(s, visible);
      LINDEN_INDEPENDENT
      for (long j = 0; j < visible; ++j) s[j] = math::exp((s[j] - highest) * scale);
      const T total = math::sum(s, visible), inverse = T(1) / total;
      LINDEN_INDEPENDENT
      for (long j = 0; j < visible; ++j) s[j] *= inverse;
      std::fill(s + visible, s + keys, T(0));
      if (lse.data != nullptr) lse.row(row + i)[head] = highest * scale + std::log(total);
    }
    gemm<T>(count, d, keys, Factor<T>{scores, keys}, detail::head_rows(v, span.first_key, kv_head * d),
                       o.row(row) + head * d, o.stride, false);
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
