#pragma once
/// \file
/// A GPU as a Runtime of engines (engine_of.hpp).

#include "../../kernels/fine_tune.cuh"
#include "support/engine_of.hpp"
#include "support/progress.hpp"

namespace linden::examples {

/// T: what it computes with, float or bfloat16.
template <class T>
class CudaRuntime {
 public:
  using element = T;
  using Backend = cuda::OnDevice;
  template <class C>
  using Model = cuda::DeviceLlama<C, T>;
  static constexpr std::array policies{Keep::everything, Keep::costly, Keep::inputs};

  explicit CudaRuntime(const EngineOptions& options) : device_(options.gpu % std::max(1, cuda::device_count())) {
#ifdef LINDEN_CUDNN  // else make_engine has refused it
    if (options.attention != AttentionBy::cudnn) return;
    device_.set_attention(cuda::make_cudnn_attention());
    scratch_ *= 3;  // its backward pass works on three float matrices as large as q
#endif
  }
  [[nodiscard]] Backend backend() { return Backend(device_); }
  /// Less what kernels take as scratch memory.
  [[nodiscard]] std::optional<std::size_t> free_bytes() const {
    const std::size_t free = cuda::free_memory();
    return free - std::min(free, scratch_);
  }
  template <class C>
  [[nodiscard]] Model<C> load(const FrozenLlama<C, float>& stored) {
    const auto all = static_cast<std::size_t>(LlamaWeights<C, T>::count());
    Progress progress(all);
    return Model<C>(stored, device_, [&](std::size_t sent) { progress.update(sent, "weights to the GPU"); });
  }

 private:
  cuda::Device device_;
  std::size_t scratch_ = std::size_t(512) << 20U;  ///< logits of a chunk, pieces of sums, graphs
};

}  // namespace linden::examples
