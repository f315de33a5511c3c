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
#include <linden/core/parallel.hpp>
#include <linden/ops/packet.hpp>
#include <span>
#include <type_traits>

namespace linden {

/// AdamW's constants.
struct AdamWOptions {
  double beta1 = 0.9;       ///< how much of the mean of gradients stays in a step
  double beta2 = 0.999;     ///< how much of the mean of their squares stays
  double epsilon = 1e-8;    ///< added to the root of that mean
  double weight_decay = 0;  ///< decoupled: param shrinks by learning_rate * weight_decay a step
};

/// What one step multiplies by, in T; `step` counts from 1.
template <Real T>
struct AdamWStep {
  T beta1, beta2;     ///< as in AdamWOptions
  T new1, new2;       ///< 1 - beta1, 1 - beta2
  T epsilon;          ///< as in AdamWOptions
  T decay;            ///< 1 - learning_rate * weight_decay
  T rate;             ///< learning_rate / (1 - beta1^step)
  T root_correction;  ///< 1 / sqrt(1 - beta2^step)

  /// The numbers of step `step`.
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

/// Sum of squares in double. Eight running sums, so that the loop is not one chain of dependent additions.
template <Real T>
double sum_of_squares(std::span<const T> values) {
  constexpr std::size_t lanes = 32;  // several registers: a sum need not wait for the one before
  double sums[lanes] = {};  // nvcc writes std::array<double, 32> as another one of that type, with a name it cannot see here
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

/// What AdamWStep does to one packet of parameters. In packets because compilers do not vectorise a square root that
/// may set errno; they also fix which products are fused into sums, whatever the partition.
template <Real T>
class AdamWPacket {
 public:
  using P = Packet<T>;
  static constexpr std::size_t size = packet_size<T>;

  AdamWPacket(const AdamWStep<T>& s, T factor)
      : beta1_(all(s.beta1)),
        beta2_(all(s.beta2)),
        new1_(all(s.new1)),
        new2_(all(s.new2)),
        factor_(all(factor)),
        epsilon_(all(s.epsilon)),
        decay_(all(s.decay)),
        rate_(all(-s.rate)),
        root_correction_(all(s.root_correction)) {}

  void operator()(T* param, const T* grad, T* m, T* v) const {
    using namespace Eigen::internal;
    const P g = pmul(factor_, ploadu<P>(grad));
    const P new_m = pmadd(beta1_, ploadu<P>(m), pmul(new1_, g));
    const P new_v = pmadd(beta2_, ploadu<P>(v), pmul(pmul(new2_, g), g));
    const P change = pdiv(pmul(rate_, new_m), pmadd(psqrt(new_v), root_correction_, epsilon_));
    pstoreu(m, new_m);
    pstoreu(v, new_v);
    pstoreu(param, pmadd(decay_, ploadu<P>(param), change));
  }

 private:
  static P all(T value) { return Eigen::internal::pset1<P>(value); }
  P beta1_, beta2_, new1_, new2_, factor_, epsilon_, decay_, rate_, root_correction_;
};

}  // namespace detail

/// Euclidean norm of `grad`. The same bits for any number of threads: chunks depend on n alone and are added in order.
template <class T>
requires Real<std::remove_const_t<T>>
[[nodiscard]] double gradient_norm(std::span<T> grad) {
  const std::size_t n = grad.size();
  const std::size_t chunk = std::max(detail::smallest_norm_chunk, (n + detail::norm_chunks - 1) / detail::norm_chunks);
  const std::size_t chunks = (n + chunk - 1) / chunk;
  std::array<double, detail::norm_chunks> partial{};
  parallel_for(static_cast<long>(chunks), static_cast<long>(chunk), [&](long first, long last) {
    for (auto c = static_cast<std::size_t>(first); c < static_cast<std::size_t>(last); ++c)
      partial[c] = detail::sum_of_squares(
          std::span<const std::remove_const_t<T>>(grad.subspan(c * chunk, std::min(chunk, n - c * chunk))));
  });
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
  const detail::AdamWPacket<T> update(AdamWStep<T>(step, learning_rate, options), static_cast<T>(gradient_factor));
  constexpr std::size_t S = update.size;
  const std::size_t whole = n / S * S;
  parallel_for(static_cast<long>(n / S), static_cast<long>(4 * S), [&](long first, long last) {
    for (auto i = static_cast<std::size_t>(first) * S; i < static_cast<std::size_t>(last) * S; i += S)
      update(&param[i], &grad[i], &m[i], &v[i]);
  });
  std::array<T, S> last_param{}, last_grad{}, last_m{}, last_v{};  // what is left, as a packet of its own
  const auto take = [whole](auto from, auto& to) { std::ranges::copy(from.subspan(whole), to.begin()); };
  const auto put_back = [whole, n](const auto& from, auto to) {
    std::copy_n(from.begin(), n - whole, to.subspan(whole).begin());
  };
  take(param, last_param), take(grad, last_grad), take(m, last_m), take(v, last_v);
  update(last_param.data(), last_grad.data(), last_m.data(), last_v.data());
  put_back(last_param, param), put_back(last_m, m), put_back(last_v, v);
}

}  // namespace linden
