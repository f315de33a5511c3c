#pragma once
/// \file
/// AdamW over flat buffers, in place, with clipping by the gradient's norm at no extra pass.
/// Shapes  param, grad, m, v: [n]. grad is read; the others are updated.
/// Units   element arithmetic in the buffers' type, bias corrections and norms in double.
/// Errors  ShapeError for buffers of different lengths; UsageError for step 0 or a max_norm that is not positive.
///         A gradient that is not finite is not refused: look at its norm first.
/// Source  Loshchilov, Hutter, arXiv:1711.05101, Algorithm 2; agrees with torch.optim.AdamW.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <span>
#include <type_traits>

namespace linden {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< decoupled: param shrinks by learning_rate * weight_decay a step
};

/// What one step multiplies by, in T; `step` counts from 1.
template <Real T>
struct AdamWStep {
  T beta1, beta2;
  T new1, new2;  ///< 1 - beta1, 1 - beta2
  T epsilon;
  T decay;            ///< 1 - learning_rate * weight_decay
  T rate;             ///< learning_rate / (1 - beta1^step)
  T root_correction;  ///< 1 / sqrt(1 - beta2^step)

  AdamWStep(std::size_t step, double learning_rate, const AdamWOptions& options)
      : beta1(static_cast<T>(options.beta1)),
        beta2(static_cast<T>(options.beta2)),
        new1(static_cast<T>(1.0 - options.beta1)),
        new2(static_cast<T>(1.0 - options.beta2)),
        epsilon(static_cast<T>(options.epsilon)),
        decay(static_cast<T>(1.0 - learning_rate * options.weight_decay)),
        rate(static_cast<T>(learning_rate / (1.0 - std::pow(options.beta1, static_cast<double>(step))))),
        root_correction(static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, static_cast<double>(step))))) {
    if (step == 0) throw UsageError("linden: AdamW's step 0; steps count from 1");
  }
};

namespace detail {

inline constexpr std::size_t norm_chunks = 256;
inline constexpr std::size_t smallest_norm_chunk = 4096;  // below it a thread costs more than it saves
inline constexpr std::size_t adamw_parallel_from = 16384;

/// Sum of squares in double. Eight running sums, so that the loop is not one chain of dependent additions.
template <Real T>
double sum_of_squares(std::span<const T> values) {
  constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums{};
  const std::size_t whole = values.size() / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      sums[lane] += value * value;
    }
  double sum = 0;
  for (const double lane_sum : sums) sum += lane_sum;
  for (std::size_t i = whole; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    sum += value * value;
  }
  return sum;
}

}  // namespace detail

/// Euclidean norm of `grad`. The same bits for any number of threads: chunks depend on n alone and are added in order.
template <class T>
requires Real<std::remove_const_t<T>>
[[nodiscard]] double gradient_norm(std::span<T> grad) {
  const std::size_t n = grad.size();
  const std::size_t chunk = std::max(detail::smallest_norm_chunk, (n + detail::norm_chunks - 1) / detail::norm_chunks);
  const std::size_t chunks = (n + chunk - 1) / chunk;
  std::array<double, detail::norm_chunks> partial{};
#ifdef _OPENMP
#pragma omp parallel for if (chunks > 1)
#endif
  for (std::size_t c = 0; c < chunks; ++c)
    partial[c] = detail::sum_of_squares(
        std::span<const std::remove_const_t<T>>(grad.subspan(c * chunk, std::min(chunk, n - c * chunk))));
  double sum = 0;
  for (std::size_t c = 0; c < chunks; ++c) sum += partial[c];
  return std::sqrt(sum);
}

/// min(1, max_norm / (norm + 1e-6)): what a gradient of this norm is multiplied by. Infinite max_norm: never clips.
/// NaN for a norm that is NaN.
[[nodiscard]] inline double clip_factor(double norm, double max_norm) {
  if (!(max_norm > 0)) throw UsageError(text("clip_factor(norm, max_norm): max_norm is ", max_norm, ", not positive"));
  if (max_norm == std::numeric_limits<double>::infinity()) return norm == norm ? 1.0 : norm;
  const double factor = max_norm / (norm + 1e-6);
  return factor > 1.0 ? 1.0 : factor;
}

/// One step with the gradient grad * gradient_factor. `step` counts from 1; m and v start at zero.
template <Real T>
void adamw_step(std::span<T> param, std::type_identity_t<std::span<const T>> grad, std::type_identity_t<std::span<T>> m,
                std::type_identity_t<std::span<T>> v, std::size_t step, double learning_rate,
                const AdamWOptions& options = {}, double gradient_factor = 1.0) {
  const std::size_t n = param.size();
  if (grad.size() != n || m.size() != n || v.size() != n)
    throw ShapeError(text("adamw_step(param, grad, m, v): lengths ", n, ", ", grad.size(), ", ", m.size(), ", ",
                          v.size(), " must match in size"));
  const AdamWStep<T> s(step, learning_rate, options);
  const auto factor = static_cast<T>(gradient_factor);
#ifdef _OPENMP
#pragma omp parallel for if (n >= detail::adamw_parallel_from)
#endif
  for (std::size_t i = 0; i < n; ++i) {
    const T g = factor * grad[i];
    m[i] = s.beta1 * m[i] + s.new1 * g;
    v[i] = s.beta2 * v[i] + s.new2 * g * g;
    param[i] = s.decay * param[i] - s.rate * m[i] / (std::sqrt(v[i]) * s.root_correction + s.epsilon);
  }
}

}  // namespace linden
