#pragma once
/// \file
/// Loss and gradients of a batch whose sequences are shared out between threads. For layers so small that threads inside an
/// operation wait for each other, and for memory, about as long as they compute.
/// Order   the parts follow from the batch alone and their gradients are added in their order, so the bits do not depend on
///         the number of threads.
/// Memory  every part has activations of its own, and all but the first have gradients.
/// Errors  those of AdapterPass.

#include <array>
#include <exception>
#include <linden/train/llama_pass.hpp>
#include <type_traits>

namespace linden {

/// AdapterPass on the CPU, several at a time.
template <LlamaConfiguration C, class T, Keep Policy = Keep::costly>
class ParallelPass {
 public:
  using Pass = AdapterPass<C, T, Policy>;       ///< what runs a part
  static constexpr std::size_t most_parts = 8;  ///< parts of a batch, at most
  /// Tokens below which a part is not worth reading the weights for.
  static constexpr std::size_t part_tokens = 512;

  /// No memory is taken yet.
  explicit ParallelPass(Host = {}) {}

  /// Bytes a batch of so many tokens needs at these ranks, in the largest number of parts.
  static std::size_t bytes(long token_count, const ModuleRanks& ranks) {
    return Pass::bytes(token_count, ranks) + (most_parts - 1) * gradient_elements(ranks) * sizeof(T);
  }
  /// Takes the memory for batches of up to so many tokens that are one part; parts take theirs when there are some.
  void reserve(long token_count, const ModuleRanks& ranks) {
    if (static_cast<std::size_t>(token_count) < 2 * part_tokens) parts_[0].pass.reserve(token_count, ranks);
  }

  /// As AdapterPass.
  double run(const FrozenLlama<C, T>& model, const AdapterFactors<C, T>& factors, const RankRows<T>& rows,
             const AdapterFactors<C, T>& gradients, const Batch& batch, double scale) {
    start();
    add(model, factors, rows, gradients, batch, scale);
    return loss();
  }
  /// As AdapterPass.
  void start() {
    for (Part& part : parts_) part.pass.start();
  }
  /// As AdapterPass.
  void add(const FrozenLlama<C, T>& model, const AdapterFactors<C, T>& factors, const RankRows<T>& rows,
           const AdapterFactors<C, T>& gradients, const Batch& batch, double scale, const OnLayer& on_layer = {}) {
    const std::vector<std::size_t>& cuts = cut(batch);
    const std::size_t count = cuts.size() - 1;
    if (count == 1) return parts_[0].pass.add(model, factors, rows, gradients, batch, scale, on_layer);
    // With many more threads than parts, those inside the operations are the better ones.
    [[maybe_unused]] const bool together = 2 * static_cast<long>(count) > thread_count();
    std::array<std::exception_ptr, most_parts> errors;
    const auto add_part = [&](std::size_t p) {
      Part& part = parts_[p];
      part.batch.assign(batch, cuts[p], cuts[p + 1]);
      part.pass.add(model, factors, rows.from(batch.offsets[cuts[p]]), p == 0 ? gradients : part.empty_gradients(gradients),
                    part.batch, scale);
    };
    LINDEN_OMP(omp parallel for schedule(static, 1) if (together))
    for (std::size_t p = 0; p < count; ++p) {
      try {
        add_part(p);
      } catch (...) {  // must not leave its thread
        errors[p] = std::current_exception();
      }
    }
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
    join(gradients.span(), count);
    for (long l = C::layers - 1; l >= 0 && on_layer; --l) on_layer(l);
  }
  /// As AdapterPass.
  [[nodiscard]] double loss() const {
    double sum = 0;
    for (const Part& part : parts_) sum += part.pass.loss();
    return sum;
  }

 private:
  struct Part {
    Pass pass;
    Batch batch;
    AlignedBuffer<T> gradients;

    AdapterFactors<C, T> empty_gradients(const AdapterFactors<C, T>& like) {
      gradients.reserve(like.span().size());
      std::fill_n(gradients.data(), like.span().size(), T(0));
      return AdapterFactors<C, T>(gradients.data(), like.full_ranks);
    }
  };

  static std::size_t gradient_elements(const ModuleRanks& ranks) {
    return static_cast<std::size_t>(AdapterFactors<C, T>::count(ranks));
  }

  /// Where the parts begin, as numbers of sequences, and the end of the last.
  const std::vector<std::size_t>& cut(const Batch& batch) {
    const std::size_t most = std::clamp<std::size_t>(batch.tokens() / part_tokens, 1, most_parts);
    cuts_.assign(1, 0);
    for (std::size_t s = 1; s < batch.sequences(); ++s)
      if (static_cast<std::size_t>(batch.offsets[s] - batch.offsets[cuts_.back()]) * most >= batch.tokens()) cuts_.push_back(s);
    cuts_.push_back(batch.sequences());
    return cuts_;
  }

  /// Adds the gradients of the other parts.
  void join(std::span<T> gradients, std::size_t count) const {
    parallel_for(static_cast<long>(gradients.size()), static_cast<long>(count), [&](long first, long last) {
      for (std::size_t p = 1; p < count; ++p) {
        const T* const from = parts_[p].gradients.data();
        LINDEN_INDEPENDENT
        for (long i = first; i < last; ++i) gradients.data()[i] += from[i];
      }
    });
  }

  std::array<Part, most_parts> parts_;
  std::vector<std::size_t> cuts_;
};

/// Whether a configuration's layers are that small: their weights fit into a core's cache, so each thread can read all of them.
template <LlamaConfiguration C>
inline constexpr bool small_layers =
    C::hidden * (2 * C::heads + 2 * C::kv_heads) * C::head_size + 3 * C::hidden * C::intermediate <= 1L << 20;

/// The pass that trains a configuration fastest.
template <LlamaConfiguration C, class T, Keep Policy = Keep::costly, class Backend = Host, class Model = FrozenLlama<C, T>>
using TrainingPass = std::conditional_t<small_layers<C> && std::is_same_v<Backend, Host>, ParallelPass<C, T, Policy>,
                                        AdapterPass<C, T, Policy, Backend, Model>>;

}  // namespace linden
