#pragma once
/// \file
/// Cross-entropy fused with the output head, in chunks of tokens: the full [tokens, vocabulary] logits never exist.
/// Where gradients are asked for they are formed in place of the logits while the chunk is in cache; tokens without a target
/// (target < 0) cost nothing.
/// Shapes  x [tokens, N], head W [V, N] (logits = x W^T), targets [tokens], scale [] ->
///         head_cross_entropy: scale * sum over targets of (logsumexp - logit of the target), [].
///         head_scores: per token [tokens, 1] the cross-entropy, and 1 where the target has the highest logit (lowest id on
///         ties), else 0; both 0 where there is no target.
/// Errors  ShapeError when a target is not below V.
/// Source  Wijmans et al. 2024, arXiv:2411.09009; the gradient-in-forward form of Hsu et al. 2024, arXiv:2410.10989.

#include <algorithm>
#include <initializer_list>
#include <linden/core/scratch.hpp>
#include <linden/ops/embedding.hpp>  // check_ids
#include <linden/ops/gemm.hpp>
#include <linden/ops/norm.hpp>
#include <utility>

namespace linden {

namespace detail {

/// The counted tokens, chunk by chunk: gathers their rows of x, forms the logits, hands both to `body`.
template <class T, class Body>
void for_each_logit_chunk(const Operand<T>& x, const Operand<T>& head, const Operand<T>& targets, Body&& body) {
  check_ids("head_cross_entropy", targets.ids, targets.columns, -0x7fffffffL - 1, head.rows);
  const long chunk = std::clamp((1L << 23) / head.rows, 64L, 512L);  // the head is packed once a chunk: not too small
  struct Rows;
  struct Gathered;
  struct Logits;
  long* const row = scratch<Rows, long>(static_cast<std::size_t>(chunk));
  T* const gathered = scratch<Gathered, T>(static_cast<std::size_t>(chunk * x.columns));
  T* const logits = scratch<Logits, T>(static_cast<std::size_t>(chunk * head.rows));
  for (long t = 0; t < targets.columns;) {
    long count = 0;
    for (; t < targets.columns && count < chunk; ++t)
      if (targets.ids[t] >= 0) row[count++] = t;
    if (count == 0) return;
    parallel_for(count, x.columns, [&](long first, long last) {
      for (long i = first; i < last; ++i) std::copy_n(x.row(row[i]), x.columns, gathered + i * x.columns);
    });
    gemm<T>(count, head.rows, x.columns, {gathered, x.columns}, {head.data, head.stride, true, head.half}, logits, head.rows, false);
    body(count, row, gathered, logits);
  }
}

}  // namespace detail

/// Results: loss, dloss/dx, dloss/dW, dloss/dscale.
struct HeadCrossEntropy {
  static constexpr const char* name = "head_cross_entropy";
  static constexpr int arity = 4;
  static constexpr unsigned wide_results = 0b1001;
  static constexpr unsigned reads_stored = 0b10;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &head = call.inputs[1], &targets = call.inputs[2];
    const Operand<T>&loss = call.results[0], &dx = call.results[1], &dw = call.results[2];
    const T scale = *call.inputs[3].data;
    const bool slopes = dx.data != nullptr || dw.data != nullptr;
    const long vocabulary_size = head.rows, n = x.columns;
    if (dx.data != nullptr)
      for (long t = 0; t < dx.rows; ++t) std::fill_n(dx.row(t), n, T(0));
    if (dw.data != nullptr)
      for (long r = 0; r < vocabulary_size; ++r) std::fill_n(dw.row(r), n, T(0));
    double total = 0;
    struct Losses;
    detail::for_each_logit_chunk(x, head, targets, [&](long count, const long* row, T* gathered, T* logits) {
      double* const losses = scratch<Losses, double>(static_cast<std::size_t>(count));
      parallel_for(count, 16 * vocabulary_size, [&](long first, long last) {
        for (long i = first; i < last; ++i)
          losses[i] = one_row(logits + i * vocabulary_size, vocabulary_size, targets.ids[row[i]], scale, slopes);
      });
      for (long i = 0; i < count; ++i) total += losses[i];
      if (dw.data != nullptr)
        gemm<T>(vocabulary_size, n, count, {logits, vocabulary_size, true}, {gathered, n}, dw.data, dw.stride, true);
      if (dx.data == nullptr) return;
      gemm<T>(count, n, vocabulary_size, {logits, vocabulary_size}, {head.data, head.stride, false, head.half}, gathered, n, false);
      parallel_for(count, n, [&](long first, long last) {
        for (long i = first; i < last; ++i) std::copy_n(gathered + i * n, n, dx.row(row[i]));
      });
    });
    if (loss.data != nullptr) *loss.data = static_cast<T>(total * static_cast<double>(scale));
    if (call.results[3].data != nullptr) *call.results[3].data = static_cast<T>(total);
  }

  static constexpr void vjp(Vjp& v) {
    for (const auto& [input_number, result_number] : {std::pair{0, 1}, std::pair{1, 2}, std::pair{3, 3}}) {
      if (!v.wants(input_number)) continue;
      const Node& input = symbolic::node(v.input(input_number));
      const Value slope = symbolic::result(v.output(), result_number, input.rows, input.columns);
      v.gradient(input_number, symbolic::hadamard(v.upstream(), slope));
    }
  }

 private:
  /// Cross-entropy of one row; with `slopes`, the row becomes its gradient times `scale`.
  template <class T>
  static double one_row(T* row, long n, std::int32_t target, T scale, bool slopes) {
    const T wanted = row[target];
    const auto [highest, total] = detail::exponentials(row, n, row);
    if (slopes) {
      const T factor = scale / total;
      for (long j = 0; j < n; ++j) row[j] *= factor;
      row[target] -= scale;
    }
    return std::log(static_cast<double>(total)) + static_cast<double>(highest) - static_cast<double>(wanted);
  }
};

/// Results: cross-entropy per token, correct per token.
struct HeadScores {
  static constexpr const char* name = "head_scores";
  static constexpr int arity = 3;
  static constexpr unsigned wide_results = 0b11;
  static constexpr unsigned reads_stored = 0b10;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&head = call.inputs[1], &targets = call.inputs[2], &losses = call.results[0],
                    &correct = call.results[1];
    for (const Operand<T>* out : {&losses, &correct})
      for (long t = 0; out->data != nullptr && t < out->rows; ++t) *out->row(t) = T(0);
    detail::for_each_logit_chunk(call.inputs[0], head, targets, [&](long count, const long* row, T*, T* logits) {
      parallel_for(count, 16 * head.rows, [&](long first, long last) {
        for (long i = first; i < last; ++i) {
          T* const scores = logits + i * head.rows;
          const std::int32_t target = targets.ids[row[i]];
          if (correct.data != nullptr)
            *correct.row(row[i]) = std::max_element(scores, scores + head.rows) - scores == target ? T(1) : T(0);
          const T wanted = scores[target];
          const auto [highest, total] = detail::exponentials(scores, head.rows, scores);
          if (losses.data != nullptr) *losses.row(row[i]) = std::log(total) + highest - wanted;
        }
      });
    });
  }
};

/// scale * the sum over tokens of -log softmax(x W^T)[target]; tokens with a negative target count nothing.
template <long M, long N, long V, long K>
constexpr Expr<Shape<>> head_cross_entropy(Expr<Shape<M, N>> x, Expr<Shape<V, K>> head, Ids<Shape<M>> targets,
                                           Expr<Shape<>> scale) {
  static_assert(N == K, "linden::head_cross_entropy(x, W, ...): columns of W must equal columns of x");
  return Expr<Shape<>>(symbolic::apply<HeadCrossEntropy>(1, 1, {}, x, head, targets, scale));
}

/// \return {cross-entropy, correct}, [tokens, 1] each.
template <long M, long N, long V>
constexpr auto head_scores(Expr<Shape<M, N>> x, Expr<Shape<V, N>> head, Ids<Shape<M>> targets) {
  const Expr<Shape<M, 1>> losses(symbolic::apply<HeadScores>(M, 1, {}, x, head, targets));
  return std::tuple(losses, Expr<Shape<M, 1>>(symbolic::result(losses, 1, M, 1)));
}

}  // namespace linden
