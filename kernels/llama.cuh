#pragma once
/// \file
/// A Llama's weights on a device, and the kernels of all its operations. The weights are read from the mapped checkpoint straight into pinned memory, which is copied while the
/// next piece is read.
/// Errors  DeviceError where they do not fit.

#include <functional>
#include <linden/model/llama.hpp>
#include <memory>

#include "attention.cuh"
#include "embedding.cuh"
#include "executor.cuh"
#include "head.cuh"
#include "norm.cuh"
#include "rotary.cuh"

namespace linden::cuda {

/// Weights of T (float or bfloat16) that are only read. Copies share them.
template <LlamaConfiguration C, class T>
class DeviceLlama {
 public:
  using Progress = std::function<void(std::size_t elements)>;  ///< sees how many have been sent, of LlamaWeights<C, T>::count()

  /// Sends the weights, as T. Waits for the device.
  DeviceLlama(const FrozenLlama<C, float>& model, Device& device, const Progress& progress = {})
      : memory_(std::make_shared<Buffer<T>>(static_cast<std::size_t>(LlamaWeights<C, T>::count()))), weights_(memory_->data()) {
    std::size_t sent = 0;
    const auto send = [&](const auto& to, const auto& from) {
      device.staging().upload(to.size(), to.data(), device.stream(), [&](T* elements, std::size_t first, std::size_t n) {
        read(from, first, n, elements);
        sent += n;
        if (progress) progress(sent);
      });
    };
    const FrozenWeights<C, float>& from = model.weights();
    send(weights_.embedding, from.embedding);
    for (std::size_t l = 0; l < weights_.layers.size(); ++l) for_each_leaf_pair(weights_.layers[l], from.layers[l], send);
    send(weights_.norm, from.norm);
    if (!C::tied) send(weights_.head, from.head);
    device.wait();
  }

  [[nodiscard]] const LlamaWeights<C, T>& weights() const { return weights_; }  ///< views of the device's memory

 private:
  /// Elements first to first + n - 1 of contiguous rows, as T.
  template <class Leaf>
  static void read(const Leaf& from, std::size_t first, std::size_t n, T* to) {
    if constexpr (requires { from.half(); })
      if (from.half() != nullptr) return convert(from.half() + first, n, to);
    convert(from.data() + first, n, to);
  }
  template <class Stored>
  static void convert(const Stored* from, std::size_t n, T* to) {
    if constexpr (std::is_same_v<Stored, T>)
      std::memcpy(to, from, n * sizeof(T));
    else
      std::transform(from, from + n, to, [](Stored element) { return static_cast<T>(float(element)); });
  }

  std::shared_ptr<Buffer<T>> memory_;
  LlamaWeights<C, T> weights_;
};

}  // namespace linden::cuda
