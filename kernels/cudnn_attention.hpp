#pragma once
/// \file
/// cuDNN's fused attention as the rest of the library sees it: no header of cuDNN or CUDA is needed here. Which calls
/// it takes over is said in cudnn_attention.cuh; cudnn_attention.cpp, the one translation unit that knows cuDNN,
/// implements it. Types    bfloat16; log-sum-exps float. State    compiled, linked and its graphs validated without a
/// GPU; no run on a device was seen yet. Errors   DeviceError: a cuDNN older than 9.25, a shape it does not support, a
/// launch that fails.

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace linden::cuda {

/// The matrices of a call: of rows of tokens, in columns heads * size (q, o, upstream, dq), kv_heads * size (k, v, dk,
/// dv) or heads (log_sums).
enum class FusedTensor : std::uint8_t { q, k, v, o, log_sums, upstream, dq, dk, dv };
inline constexpr std::size_t fused_tensors = 9;  ///< how many kinds there are

/// Keys' rows, not queries'.
constexpr bool of_keys(FusedTensor t) {
  return t == FusedTensor::k || t == FusedTensor::v || t == FusedTensor::dk || t == FusedTensor::dv;
}

/// What tells cuDNN's graphs apart; building one takes seconds. The counts are powers of two, so that batches of ever
/// new sizes share a few graphs. `tokens` bounds the length of a sequence, too: the host does not know the lengths, and
/// to fetch them would stop it at every step. A bound that is too high costs blocks that end at once.
struct FusedShape {
  long sequences = 0, tokens = 0;             ///< at most
  int heads = 0, kv_heads = 0, size = 0;      ///< of queries, of keys and values; columns of a head
  std::array<long, fused_tensors> strides{};  ///< elements from row to row; 0: the call has no such matrix

  /// Elements from row to row; 0: the call has no such matrix.
  [[nodiscard]] constexpr long stride(FusedTensor t) const { return strides[static_cast<std::size_t>(t)]; }
  /// Whether the call has such a matrix.
  [[nodiscard]] constexpr bool has(FusedTensor t) const { return stride(t) != 0; }
  /// Whether the gradients are asked for.
  [[nodiscard]] constexpr bool backward() const { return has(FusedTensor::dq); }
  auto operator<=>(const FusedShape&) const = default;
};

/// The bound of a FusedShape for `count`. Above one, since cuDNN refuses sequences of one token.
constexpr long fused_bound(long count, long least) {
  return static_cast<long>(std::bit_ceil(static_cast<unsigned long>(count < least ? least : count)));
}

/// Where a call's data lies, all of it on the device.
struct FusedCall {
  std::array<void*, fused_tensors> data{};  ///< null: no such matrix
  const std::int64_t* offsets = nullptr;    ///< [fused_tensors, sequences + 1]: elements before each sequence's rows
  const std::int32_t* lengths = nullptr;    ///< [2, sequences]: queries, then keys
  void* workspace = nullptr;                ///< as large as asked for
};

/// Attention, forward or backward, by somebody else's kernels.
class FusedAttention {
 public:
  FusedAttention() = default;
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;
  virtual ~FusedAttention() = default;

  /// Compute capability of the device, times ten.
  [[nodiscard]] virtual int capability() const = 0;
  /// Bytes that a call of this shape needs; prepares it where that was not done yet.
  virtual std::size_t workspace(const FusedShape& shape) = 0;
  /// Starts a call on a cudaStream_t; can be captured once workspace() knows the shape.
  virtual void run(const FusedShape& shape, const FusedCall& call, void* stream) = 0;
};

/// cuDNN on the calling thread's device.
std::unique_ptr<FusedAttention> make_cudnn_attention();

/// Throws if cuDNN's front end refuses a call of this shape on such a device; asks no device.
void validate_cudnn_attention(const FusedShape& shape, int capability);

}  // namespace linden::cuda
