#pragma once
/// \file
/// Parameters under training, where a backend's kernels read them: masters, gradients and AdamW's moments in flat buffers.
/// Shapes  all [n].
/// Types   T is what kernels read; masters, gradients and moments are float where T is narrower. A device keeps a copy of its own
///         (kernels/trained_parameters.cuh has its specialisation, with these members).

#include <algorithm>
#include <array>
#include <linden/backend/host.hpp>
#include <linden/train/adamw.hpp>
#include <linden/train/fine_tune_state.hpp>
#include <linden/train/process_group.hpp>
#include <span>

namespace linden {

/// On the CPU.
template <class T, class Backend>
class TrainedParameters {
 public:
  /// The parameters are trained where they are, and must outlive this.
  TrainedParameters(std::span<T> parameters, const Backend&)
      : parameters_(parameters), gradients_(parameters.size()), m_(parameters.size()), v_(parameters.size()) {
    for (const auto* buffer : {&gradients_, &m_, &v_}) std::ranges::fill(buffer->span(), T(0));
  }

  [[nodiscard]] std::span<T> parameters() const { return parameters_; }  ///< the masters
  /// What kernels read.
  [[nodiscard]] T* values() const { return parameters_.data(); }
  /// What kernels add to; zero after `clear_gradients`.
  [[nodiscard]] T* gradients() const { return gradients_.data(); }
  void clear_gradients() { std::ranges::fill(gradients_.span(), T(0)); }  ///< sets them to zero
  /// Starts to add the gradients of all processes, of `count` parameters from `first` on; nobody touches them before the finish.
  void start_sum(ProcessGroup& group, std::size_t first, std::size_t count) { group.start_sum(gradients_.span().subspan(first, count)); }
  /// Waits for the sums of all, each started once.
  void finish_sums(ProcessGroup& group) { group.finish_sums(); }
  /// The gradients, as the CPU's arithmetic takes them.
  [[nodiscard]] std::span<T> gradient_span() const { return gradients_.span(); }
  [[nodiscard]] std::array<std::span<T>, 2> moments() const { return {m_.span(), v_.span()}; }  ///< AdamW's two means

  /// An AdamW step with gradients clipped to max_norm, unless their norm is not finite. \return their norm before.
  double update(double learning_rate, const AdamWOptions& options, double max_norm) {
    const double norm = gradient_norm(std::span<const T>(gradients_.span()));
    if (std::isfinite(norm)) step(learning_rate, options, clip_factor(norm, max_norm));
    return norm;
  }
  /// An AdamW step with the gradients times a factor.
  void step(double learning_rate, const AdamWOptions& options, double factor) {
    adamw_step<T>(parameters_, gradients_.span(), m_.span(), v_.span(), ++updates_, learning_rate, options, factor);
  }
  /// AdamW steps made.
  [[nodiscard]] std::size_t updates() const { return updates_; }
  /// Goes on from a state of as many parameters.
  void restore(const FineTuneState<T>& state) {
    std::ranges::copy(state.parameters, parameters_.begin());
    std::ranges::copy(state.moment1, m_.span().begin());
    std::ranges::copy(state.moment2, v_.span().begin());
    updates_ = state.updates;
  }
  /// Brings the parameters to where they were given: they are there.
  void read() const {}

 private:
  std::span<T> parameters_;
  AlignedBuffer<T> gradients_, m_, v_;
  std::size_t updates_ = 0;
};

}  // namespace linden
