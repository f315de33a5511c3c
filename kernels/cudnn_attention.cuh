#pragma once
/// \file
/// From a call of attention to one of cuDNN's: who may take it, and where each sequence begins, in cuDNN's terms.
/// Served   bfloat16; heads of 16, 32, ... 128 columns; as many keys as queries, so training and scoring, but not
///          generation from a cache; aligned rows; all results wanted, log-sum-exp or not; compute capability 9 or 10.
///          Everything else is our own kernel's.
/// Mask     causal from the last query and key of a sequence, so a sequence with more keys than queries is right, too.
/// Saved    log-sum-exp [tokens, heads] is natural, of scaled scores, for both kernels: to cuDNN it is its Stats
///          [sequences, heads, length, 1] with strides {-, 1, row, 1} and ragged sequences. So what one saves the other
///          can go backward from.
/// Memory   offsets, lengths and cuDNN's workspace are the operation's scratch memory.

#include "cudnn_attention.hpp"
#include "launch.cuh"

namespace linden::cuda {

/// offsets [fused_tensors, shape.sequences + 1] and lengths [2, shape.sequences] from spans [count, 4]. Sequences from
/// `count` on are empty and lie behind the last row. A thread for every sequence, and one for the end.
[[maybe_unused]] static __global__ void ragged_sequences(const std::int32_t* spans, long count, long rows, FusedShape shape,
                                                         std::int64_t* offsets, std::int32_t* lengths) {
  const long s = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x, n = shape.sequences;
  if (s > n) return;
  const bool exists = s < count;
  const std::int32_t* const span = spans + s * 4;
  const long first_query = exists ? span[0] : rows, first_key = exists ? span[2] : rows;
  for (long t = 0; t < static_cast<long>(fused_tensors); ++t) {
    const auto tensor = static_cast<FusedTensor>(t);
    offsets[t * (n + 1) + s] = (of_keys(tensor) ? first_key : first_query) * shape.stride(tensor);
  }
  if (s == n) return;
  lengths[s] = exists ? span[1] : 0;
  lengths[n + s] = exists ? span[3] : 0;
}

namespace detail {

/// Scratch memory of a fused call, in floats: offsets, lengths, workspace, each aligned to 256 bytes.
struct FusedScratch {
  long lengths, workspace, count;

  FusedScratch(const FusedShape& shape, std::size_t workspace_bytes)
      : lengths(aligned(static_cast<long>(fused_tensors) * (shape.sequences + 1) * 2)),
        workspace(lengths + aligned(2 * shape.sequences)),
        count(workspace + blocks_for(static_cast<long>(workspace_bytes), sizeof(float))) {}

 private:
  static long aligned(long floats) { return blocks_for(floats, 64) * 64; }
};

/// The operands of a call in the order of FusedTensor, results that are not wanted and inputs that do not exist empty.
template <class T>
using FusedOperands = std::array<Operand<T>, fused_tensors>;

template <class T>
FusedOperands<T> fused_operands(const Call<T>& call, bool backward) {
  const auto& in = call.inputs;
  const auto& out = call.results;
  if (!backward) return {in[0], in[1], in[2], out[0], out[1]};
  return {in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1], out[2]};
}

template <class T>
FusedShape fused_shape(const Call<T>& call, const FusedOperands<T>& operands, long sequences) {
  FusedShape shape;
  shape.heads = static_cast<int>(call.attributes[0]), shape.kv_heads = static_cast<int>(call.attributes[1]);
  shape.size = static_cast<int>(operands[0].columns / shape.heads);
  shape.sequences = fused_bound(sequences, 1), shape.tokens = fused_bound(operands[0].rows, 128);
  for (std::size_t t = 0; t < fused_tensors; ++t)
    if (operands[t].data != nullptr || operands[t].wide != nullptr) shape.strides[t] = operands[t].stride;
  return shape;
}

/// The one place that decides whose kernel runs.
template <class T>
bool fused_serves(const FusedAttention* fused, const FusedOperands<T>& operands, const FusedShape& shape,
                  bool backward) {
  if (!std::is_same_v<T, bfloat16> || fused == nullptr) return false;
  if (fused->capability() / 10 != 9 && fused->capability() / 10 != 10) return false;
  if (shape.size % 16 != 0 || shape.size > 128) return false;
  if (operands[0].rows == 0 || operands[0].rows != operands[1].rows) return false;
  for (std::size_t t = 0; t < fused_tensors; ++t) {
    const bool log_sums = static_cast<FusedTensor>(t) == FusedTensor::log_sums, used = backward || t < 4;
    if (used && !log_sums && (operands[t].data == nullptr || !fits_packs(operands[t]))) return false;
  }
  return true;
}

}  // namespace detail

/// A call of attention as cuDNN would run it. Without `fused`, or where it does not serve, serves() is false.
template <class T>
class FusedRun {
 public:
  /// A call as cuDNN would run it; nothing is started.
  FusedRun(const Call<T>& call, const Operand<T>& spans, bool backward, const Queue& queue)
      : queue_(queue),
        spans_(spans),
        operands_(detail::fused_operands(call, backward)),
        shape_(detail::fused_shape(call, operands_, spans.rows)),
        serves_(detail::fused_serves(queue.fused, operands_, shape_, backward)) {}

  /// Whether cuDNN takes the call over.
  [[nodiscard]] bool serves() const { return serves_; }
  /// Floats of scratch memory.
  [[nodiscard]] long scratch() const { return layout().count; }
  /// Starts it, in stream order.
  void start() const {
    const detail::FusedScratch at = layout();
    auto* const offsets = reinterpret_cast<std::int64_t*>(queue_.scratch);
    auto* const lengths = reinterpret_cast<std::int32_t*>(queue_.scratch + at.lengths);
    launch("ragged_sequences", {blocks_for(shape_.sequences + 1, 128)}, 128, queue_.stream, &ragged_sequences,
           spans_.ids, spans_.rows, operands_[0].rows, shape_, offsets, lengths);
    FusedCall call{{}, offsets, lengths, queue_.scratch + at.workspace};
    for (std::size_t t = 0; t < fused_tensors; ++t)
      call.data[t] = operands_[t].wide != nullptr ? static_cast<void*>(operands_[t].wide) : operands_[t].data;
    queue_.fused->run(shape_, call, queue_.stream);
  }

 private:
  [[nodiscard]] detail::FusedScratch layout() const { return {shape_, queue_.fused->workspace(shape_)}; }

  Queue queue_;
  Operand<T> spans_;
  detail::FusedOperands<T> operands_;
  FusedShape shape_;
  bool serves_;
};

}  // namespace linden::cuda
