#pragma once
/// \file
/// Parameters under training on a device: float masters, gradients and moments, and the copy in T that kernels read, all in flat
/// buffers there. A step is two launches; only the gradient's norm comes back.
/// Errors  UsageError as in train/adamw.hpp. Where the norm is not finite nothing is updated.

#include <linden/train/trained_parameters.hpp>

#include "adamw.cuh"
#include "executor.cuh"

namespace linden {

/// On a device; the members are those of the CPU's, but for spans of its memory.
template <class T>
class TrainedParameters<T, cuda::OnDevice> {
 public:
  /// `parameters` are copied to the device, and back by `read`.
  TrainedParameters(std::span<float> parameters, const cuda::OnDevice& backend)
      : parameters_(parameters),
        backend_(backend),
        masters_(parameters.size()),
        gradients_(parameters.size()),
        m_(parameters.size()),
        v_(parameters.size()),
        rounded_(rounds ? parameters.size() : 0),
        norm_(1) {
    place_parameters();
    for (const auto* buffer : {&gradients_, &m_, &v_}) backend_.clear(buffer->data(), parameters.size());
  }

  /// Where they were given; behind the device until `read`.
  [[nodiscard]] std::span<float> parameters() const { return parameters_; }
  /// What kernels read.
  [[nodiscard]] T* values() const {
    if constexpr (rounds)
      return rounded_.data();
    else
      return masters_.data();
  }
  [[nodiscard]] float* gradients() const { return gradients_.data(); }               ///< what kernels add to
  void clear_gradients() { backend_.clear(gradients_.data(), parameters_.size()); }  ///< sets them to zero, in stream order

  /// Where the group sums on devices: starts to add the gradients of `count` parameters from `first` on, behind what is on the stream.
  void start_sum(ProcessGroup& group, std::size_t first, std::size_t count) {
    if (group.device_sums() != nullptr) group.device_sums()->start(gradients_.data() + first, count, backend_.device().stream());
  }
  /// Waits for these sums; elsewhere all gradients are added now, by way of the host.
  void finish_sums(ProcessGroup& group) {
    if (group.device_sums() != nullptr) return group.device_sums()->finish();
    if (group.size() == 1) return;
    std::vector<float> sums(parameters_.size());
    backend_.fetch(gradients_.data(), std::span(sums));
    group.sum(std::span(sums));
    backend_.place(std::span<const float>(sums), gradients_);
  }

  /// An AdamW step with gradients clipped to max_norm. \return their norm before.
  double update(double learning_rate, const AdamWOptions& options, double max_norm) {
    const auto n = static_cast<long>(parameters_.size());
    cuda::adamw(buffers(), n, max_norm, next_step(learning_rate, options), norm_.data(),
                backend_.device().queue(cuda::adamw_scratch(n)));
    float norm = 0;
    backend_.fetch(norm_.data(), std::span(&norm, 1));
    if (!std::isfinite(norm)) forget_step();  // the kernel left everything as it was
    return static_cast<double>(norm);
  }
  /// What a step reads and writes, and its numbers; for arithmetic other than `update`'s.
  [[nodiscard]] cuda::AdamWBuffers buffers() const {
    cuda::AdamWBuffers all;
    all.param = masters_.data(), all.grad = gradients_.data(), all.m = m_.data(), all.v = v_.data();
    if constexpr (rounds) all.half = rounded_.data();
    return all;
  }
  /// The numbers of the next step, which is counted from now on.
  [[nodiscard]] AdamWStep<float> next_step(double learning_rate, const AdamWOptions& options) {
    return AdamWStep<float>(++updates_, learning_rate, options);
  }
  /// Takes back the last of them, which was not made.
  void forget_step() { --updates_; }
  [[nodiscard]] std::size_t updates() const { return updates_; }  ///< AdamW steps made
  /// AdamW's two means, brought to the host. Waits for the device.
  [[nodiscard]] std::array<std::vector<float>, 2> moments() const {
    std::array<std::vector<float>, 2> moments;
    for (std::size_t k = 0; k < 2; ++k) {
      moments[k].resize(parameters_.size());
      backend_.fetch((k == 0 ? m_ : v_).data(), std::span(moments[k]));
    }
    return moments;
  }
  /// Goes on from a state of as many parameters.
  void restore(const FineTuneState<float>& state) {
    std::ranges::copy(state.parameters, parameters_.begin());
    place_parameters();
    backend_.place(std::span<const float>(state.moment1), m_);
    backend_.place(std::span<const float>(state.moment2), v_);
    updates_ = state.updates;
  }
  /// Brings the parameters to where they were given.
  void read() const { backend_.fetch(masters_.data(), parameters_); }

 private:
  static constexpr bool rounds = sizeof(T) < sizeof(float);

  void place_parameters() {
    backend_.place(std::span<const float>(parameters_), masters_);
    if constexpr (rounds) {
      const std::vector<T> rounded(parameters_.begin(), parameters_.end());
      backend_.place(std::span<const T>(rounded), rounded_);
    }
  }

  std::span<float> parameters_;
  cuda::OnDevice backend_;
  cuda::Buffer<float> masters_, gradients_, m_, v_;
  cuda::Buffer<T> rounded_;
  cuda::Buffer<float> norm_;
  std::size_t updates_ = 0;
};

}  // namespace linden
