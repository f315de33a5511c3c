#pragma once
/// \file
/// The arithmetic of the published reference, whose adapters, gradients and Adam moments are bfloat16: every value is rounded
/// where the reference stores it, and computed in float in between. There are no float masters: an update below half a unit in
/// the last place is lost.
///   A diag(p)   rounded once, and used as A with P = 1 (under autocast the product enters the matrix product in bfloat16)
///   gradients   of a micro-batch rounded; that of A is the rounded gradient of A diag(p), times p, rounded; sums over
///               micro-batches rounded; clipped by a rounded norm of rounded norms of the tensors
///   update      in float, then parameters and moments rounded (torch's fused AdamW)
/// Activations and the frozen base keep linden's precision.
/// Source  spec of MatryoshkaLoRA's training script (transformers Trainer, bf16 model, autocast); torch 2.8.

#include <cmath>
#include <linden/core/parallel.hpp>
#include <linden/core/tensor.hpp>
#include <linden/model/adapter_description.hpp>
#include <linden/model/placed_batch.hpp>
#include <linden/train/trained_parameters.hpp>
#include <span>
#include <vector>

namespace linden {

/// The value after a round trip through bfloat16.
template <Real T>
[[nodiscard]] T rounded_to_bf16(T value) {
  return static_cast<T>(float(bfloat16(static_cast<float>(value))));
}

/// Every value after a round trip through bfloat16.
template <Real T>
void round_to_bf16(std::span<T> values) {
  parallel_for(static_cast<long>(values.size()), 4, [&](long first, long last) {
    for (T& value : values.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)))
      value = rounded_to_bf16(value);
  });
}

namespace detail {

/// Calls visit(leaf, row of P of its kind) for every A of `factors`.
template <LlamaConfiguration C, Real T, class Visit>
void for_each_a(const AdapterFactors<C, T>& factors, const RankRows<T>& rows, Visit&& visit) {
  const ModuleRows<Bound<const T>> P = rows.view(1);
  for (const auto& layer : factors.layers) {
    std::array<const T*, module_kinds> row{};
    std::size_t kind = 0;
    for_each_leaf(P, [&](const auto& leaf) { row[kind++] = leaf.data(); });
    kind = 0;
    for_each_leaf(layer, [&]<class L>(const L& leaf) {
      if constexpr (L::shape::column_count < 0) visit(leaf, row[kind++]);
    });
  }
}

/// A = round(A diag(p)) in place, for every A.
template <LlamaConfiguration C, Real T>
void scale_a(const AdapterFactors<C, T>& factors, const RankRows<T>& rows) {
  for_each_a(factors, rows, [](const auto& a, const T* p) {
    parallel_for(a.rows(), 4 * a.columns(), [&](long first, long last) {
      for (long i = first; i < last; ++i)
        for (long j = 0; j < a.columns(); ++j) a(i, j) = rounded_to_bf16(a(i, j) * p[j]);
    });
  });
}

}  // namespace detail

/// The factors as the matrix products see them: `scaled` becomes those of `factors` with A = round(A diag(p)). Both have one
/// layout; `flat` and `scaled_flat` are their buffers. `rows` holds one row for all tokens, of full rank.
template <LlamaConfiguration C, Real T>
void apply_p_as_reference(std::span<const T> flat, std::span<T> scaled_flat, const AdapterFactors<C, T>& scaled,
                          const RankRows<T>& rows) {
  std::ranges::copy(flat, scaled_flat.begin());
  detail::scale_a<C, T>(scaled, rows);
}

/// Adds the gradients of a micro-batch, taken with respect to the scaled factors, to the sum over micro-batches.
template <LlamaConfiguration C, Real T>
void accumulate_as_reference(std::span<T> micro_flat, const AdapterFactors<C, T>& micro, const RankRows<T>& rows, bool scaled,
                             std::span<T> sum) {
  round_to_bf16(micro_flat);
  if (scaled) detail::scale_a<C, T>(micro, rows);
  parallel_for(static_cast<long>(sum.size()), 4, [&](long first, long last) {
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i)
      sum[i] = rounded_to_bf16(sum[i] + micro_flat[i]);
  });
}

/// The norm torch's clip_grad_norm_ finds for bfloat16 gradients; scales them by min(1, max_norm / (norm + 1e-6)), rounded.
template <LlamaConfiguration C, Real T>
double clip_as_reference(AdapterFactors<C, T> gradients, std::span<T> flat, double max_norm) {
  double squares = 0;
  gradients.for_each([&](const std::string&, auto view) {
    double square = 0;
    for (const T g : view.span()) square += static_cast<double>(g) * static_cast<double>(g);
    const double norm = rounded_to_bf16(std::sqrt(square));
    squares += norm * norm;
  });
  const double norm = rounded_to_bf16(std::sqrt(squares));
  const double factor = rounded_to_bf16(max_norm / rounded_to_bf16(norm + 1e-6));
  if (!(factor >= 1))  // a norm that is not a number reaches the gradients, as it does there
    for (T& g : flat) g = rounded_to_bf16(g * static_cast<T>(factor));
  return norm;
}

/// What a micro-batch is run with.
template <LlamaConfiguration C, class T>
struct ReferenceMicroBatch {
  using Number = detail::Arithmetic<T>;  ///< what P and gradients are: float where T is narrower
  AdapterFactors<C, T> factors;          ///< A and B as the pass reads them
  RankRows<Number> rows;                 ///< P as the pass reads it
  AdapterFactors<C, Number> gradients;   ///< where the pass adds gradients
};

/// The arithmetic above around the micro-batches of a step, on the CPU. (On a device: kernels/bf16_reference.cuh.)
template <LlamaConfiguration C, class T, class Backend>
class ReferenceTraining {
 public:
  /// `trained` holds rounded parameters in the layout of AdapterFactors, and must outlive this.
  ReferenceTraining(TrainedParameters<T, Backend>& trained, const AdapterDescription& description, const Backend&)
      : trained_(trained),
        folds_p_(description.kind == AdapterKind::matryoshka),
        scaled_memory_(trained.parameters().size()),
        micro_memory_(trained.parameters().size()),
        ones_(static_cast<std::size_t>(description.full_ranks().largest()), T(1)),
        factors_(trained.values(), description.full_ranks()),
        sums_(trained.gradients(), description.full_ranks()),
        scaled_(scaled_memory_.data(), description.full_ranks()),
        micro_(micro_memory_.data(), description.full_ranks()) {}

  /// Before a micro-batch with P in these rows (MatryoshkaLoRA: one row for all tokens, of full rank).
  ReferenceMicroBatch<C, T> begin(const RankRows<T>& rows) {
    std::ranges::fill(micro_memory_.span(), T(0));
    if (!folds_p_) return {factors_, rows, micro_};
    apply_p_as_reference<C, T>(trained_.parameters(), scaled_memory_.span(), scaled_, rows);
    return {scaled_, RankRows<T>(ones_.data(), rows.active()), micro_};
  }
  /// After it: its gradients are added to the step's.
  void end(const RankRows<T>& rows) {
    accumulate_as_reference<C, T>(micro_memory_.span(), micro_, rows, folds_p_, trained_.gradient_span());
  }
  /// Clips and steps, unless the gradients' norm is not finite (there it reaches the parameters). \return it, before.
  double update(double learning_rate, const AdamWOptions& options, double max_norm) {
    const double norm = clip_as_reference(sums_, trained_.gradient_span(), max_norm);
    if (!std::isfinite(norm)) return norm;
    trained_.step(learning_rate, options, 1);
    round_to_bf16(trained_.parameters());
    for (const std::span<T> moment : trained_.moments()) round_to_bf16(moment);
    return norm;
  }

 private:
  TrainedParameters<T, Backend>& trained_;
  bool folds_p_;
  AlignedBuffer<T> scaled_memory_, micro_memory_;
  std::vector<T> ones_;
  AdapterFactors<C, T> factors_, sums_, scaled_, micro_;
};

}  // namespace linden
