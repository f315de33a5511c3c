#pragma once
/// \file
/// The output head and its cross-entropy on a device, in chunks of tokens: logits of one chunk exist at a time, and their
/// gradient takes their place. Every token's logits are formed, also those without a target.
/// Shapes   as ops/cross_entropy.hpp; the loss, scale and scores are float whatever T is.
/// Scratch  the logits of a chunk (logit_bytes) and a float per token.
/// Order    fixed, so the same bits every time.

#include <linden/ops/cross_entropy.hpp>

#include "cross_entropy.cuh"
#include "product.cuh"

namespace linden::cuda {

/// Bytes of logits that exist at a time, at most; at least one token's. Lower it where memory is short.
inline long logit_bytes = 1L << 28;

/// Memory of one call for a head of V rows: logits [chunk, V], whose rows begin at whole packs, then the losses of all tokens.
template <class T>
struct HeadScratch {
  long chunk, vocabulary;  ///< tokens at a time; rows of the head
  long stride, losses_at;  ///< elements from row to row; floats before the losses

  /// For a head of so many rows; as many tokens at a time as logit_bytes allow.
  HeadScratch(long token_count, long vocabulary_size)
      : vocabulary(vocabulary_size), stride(blocks_for(vocabulary_size, pack_size<T>) * pack_size<T>) {
    const long row_bytes = stride * static_cast<long>(sizeof(T));
    chunk = std::min(token_count, std::max(logit_bytes / row_bytes, 1L));
    losses_at = blocks_for(chunk * row_bytes, 256) * 64;
  }

  /// Floats of scratch memory in all.
  [[nodiscard]] long floats(long token_count) const { return losses_at + token_count; }
  /// The logits of `count` tokens.
  [[nodiscard]] Operand<T> logits(const Queue& queue, long count) const {
    Operand<T> operand;
    operand.data = reinterpret_cast<T*>(queue.scratch);
    operand.rows = count;
    operand.columns = vocabulary;
    operand.stride = stride;
    return operand;
  }
  [[nodiscard]] float* losses(const Queue& queue) const { return queue.scratch + losses_at; }  ///< of all tokens
};

/// Forms the logits of all tokens, chunk by chunk, and calls body(first token, logits).
template <class T, class Body>
void for_each_logit_chunk(const Operand<T>& x, const Operand<T>& head, const HeadScratch<T>& scratch, const Queue& queue, Body&& body) {
  for (long t = 0; t < x.rows; t += scratch.chunk) {
    const Operand<T> logits = scratch.logits(queue, std::min(scratch.chunk, x.rows - t));
    gemm(logits.rows, head.rows, x.columns, DeviceFactor<T>{x.row(t), x.stride}, DeviceFactor<T>{head.data, head.stride, true},
         logits.data, logits.stride, false, queue);
    body(t, logits);
  }
}

template <>
struct Kernel<HeadCrossEntropy> {
  template <class T>
  static long scratch(const Call<T>& call, const Queue&) {
    return HeadScratch<T>(call.inputs[0].rows, call.inputs[1].rows).floats(call.inputs[0].rows);
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &head = call.inputs[1], &targets = call.inputs[2];
    const Operand<T>&dx = call.results[1], &dw = call.results[2];
    const HeadScratch<T> scratch(x.rows, head.rows);
    const float* const scale = floats(call.inputs[3]);
    float* const losses = scratch.losses(queue);
    const bool slopes = dx.data != nullptr || dw.data != nullptr;
    for_each_logit_chunk(x, head, scratch, queue, [&](long first, const Operand<T>& logits) {
      cross_entropy_rows(logits, targets.ids + first, scale, slopes, FloatColumn{losses + first}, queue.stream);
      const DeviceFactor<T> slope{logits.data, logits.stride};
      if (dx.data != nullptr)
        gemm(logits.rows, x.columns, head.rows, slope, DeviceFactor<T>{head.data, head.stride}, dx.row(first), dx.stride, false, queue);
      if (dw.data != nullptr)
        gemm(head.rows, x.columns, logits.rows, DeviceFactor<T>{logits.data, logits.stride, true}, DeviceFactor<T>{x.row(first), x.stride},
             dw.data, dw.stride, first > 0, queue);
    });
    sum_losses(losses, x.rows, scale, floats(call.results[0]), floats(call.results[3]), queue.stream);
  }
};

template <>
struct Kernel<HeadScores> {
  template <class T>
  static long scratch(const Call<T>& call, const Queue&) {
    return HeadScratch<T>(call.inputs[0].rows, call.inputs[1].rows).floats(0);
  }
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &head = call.inputs[1], &targets = call.inputs[2];
    const auto column = [](const Operand<T>& result, long first) {
      float* const data = floats(result);
      return data == nullptr ? FloatColumn{} : FloatColumn{data + first * result.stride, result.stride};
    };
    for_each_logit_chunk(x, head, HeadScratch<T>(x.rows, head.rows), queue, [&](long first, const Operand<T>& logits) {
      score_rows(logits, targets.ids + first, column(call.results[0], first), column(call.results[1], first), queue.stream);
    });
  }
};

}  // namespace linden::cuda
