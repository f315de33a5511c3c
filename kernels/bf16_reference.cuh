#pragma once
/// \file
/// The arithmetic of the published reference (train/bf16_reference.hpp) on a device: the same roundings of the same values, so that
/// adapters trained here and there differ by the order of sums alone.
/// Traffic  a micro-batch reads and writes the factors and their gradients once more; a step twice.
/// Order    fixed: a block adds up the squares of a factor, one block those of all factors.

#include <linden/train/bf16_reference.hpp>

#include "trained_parameters.cuh"

namespace linden {
namespace cuda {

/// A factor's place in the flat buffers; p: where its row of P begins, or -1 for a B.
struct ReferenceLeaf {
  long first, count, columns, p;  ///< in elements
};

inline constexpr int reference_threads = 256;  ///< of a block

/// The value after a round trip through bfloat16.
__device__ inline float rounded_to_bf16(float value) { return to_float(from_float<bfloat16>(value)); }

/// Calls visit(index in the flat buffers, leaf, column) for the elements of leaf blockIdx.y that are this thread's.
template <class Visit>
__device__ inline void for_leaf_elements(const ReferenceLeaf* leaves, Visit visit) {
  const ReferenceLeaf leaf = leaves[blockIdx.y];
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < leaf.count; i += step)
    visit(leaf.first + i, leaf, i % leaf.columns);
}

/// scaled = the parameters with A = round(A diag(p)).
template <class T>
__global__ void reference_scale(const float* param, const ReferenceLeaf* leaves, const float* P, T* scaled) {
  for_leaf_elements(leaves, [&](long at, const ReferenceLeaf& leaf, long column) {
    scaled[at] = from_float<T>(leaf.p < 0 ? param[at] : rounded_to_bf16(param[at] * P[leaf.p + column]));
  });
}

/// sum = round(sum + round(micro)), that of A round(round(micro) diag(p)); P may be null.
static __global__ void reference_add(const float* micro, const ReferenceLeaf* leaves, const float* P, float* sum) {
  for_leaf_elements(leaves, [&](long at, const ReferenceLeaf& leaf, long column) {
    float gradient = rounded_to_bf16(micro[at]);
    if (P != nullptr && leaf.p >= 0) gradient = rounded_to_bf16(gradient * P[leaf.p + column]);
    sum[at] = rounded_to_bf16(sum[at] + gradient);
  });
}

/// norms[leaf] = round(its Euclidean norm).
static __global__ void reference_norms(const float* gradients, const ReferenceLeaf* leaves, float* norms) {
  double square = 0;
  for_leaf_elements(leaves, [&](long at, const ReferenceLeaf&, long) {
    square += static_cast<double>(gradients[at]) * static_cast<double>(gradients[at]);
  });
  square = block_reduce(square, Plus{});
  if (threadIdx.x == 0) norms[blockIdx.y] = rounded_to_bf16(static_cast<float>(std::sqrt(square)));
}

/// What a step is clipped by.
struct ReferenceClip {
  float norm, factor;  ///< of all gradients; what they are multiplied with where it is below 1
};

/// The rounded norm of the factors' norms, and what follows from it.
static __global__ void reference_clip(const float* norms, long leaves, double max_norm, ReferenceClip* clip) {
  double squares = 0;
  for (long k = threadIdx.x; k < leaves; k += blockDim.x) squares += static_cast<double>(norms[k]) * static_cast<double>(norms[k]);
  squares = block_reduce(squares, Plus{});
  if (threadIdx.x != 0) return;
  const auto rounded = [](double value) { return static_cast<double>(rounded_to_bf16(static_cast<float>(value))); };
  const double norm = rounded(std::sqrt(squares));
  clip->norm = static_cast<float>(norm);
  clip->factor = static_cast<float>(rounded(max_norm / rounded(norm + 1e-6)));
}

/// AdamW in float, then everything that is stored is rounded. Where the norm is not finite nothing is updated.
static __global__ void reference_update(AdamWBuffers buffers, long n, const ReferenceClip* clip, AdamWStep<float> step) {
  const long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n || !(clip->norm < __builtin_huge_valf())) return;
  const float grad = clip->factor >= 1 ? buffers.grad[i] : rounded_to_bf16(buffers.grad[i] * clip->factor);
  const float m = step.beta1 * buffers.m[i] + step.new1 * grad, v = step.beta2 * buffers.v[i] + step.new2 * grad * grad;
  const float param = step.decay * buffers.param[i] - step.rate * m / (sqrtf(v) * step.root_correction + step.epsilon);
  buffers.m[i] = rounded_to_bf16(m);
  buffers.v[i] = rounded_to_bf16(v);
  buffers.param[i] = rounded_to_bf16(param);
  if (buffers.half != nullptr) buffers.half[i] = from_float<bfloat16>(param);
}

}  // namespace cuda

/// On a device; the members are those of the CPU's.
template <LlamaConfiguration C, class T>
class ReferenceTraining<C, T, cuda::OnDevice> {
 public:
  /// `trained` holds rounded parameters in the layout of AdapterFactors, and must outlive this.
  ReferenceTraining(TrainedParameters<T, cuda::OnDevice>& trained, const AdapterDescription& description, const cuda::OnDevice& backend)
      : trained_(trained),
        backend_(backend),
        folds_p_(description.kind == AdapterKind::matryoshka),
        scaled_memory_(folds_p_ ? trained.parameters().size() : 0),
        micro_memory_(trained.parameters().size()),
        clip_(1),
        ones_(static_cast<std::size_t>(description.full_ranks().largest()), 1.0F),
        factors_(trained.values(), description.full_ranks()),
        scaled_(scaled_memory_.data(), description.full_ranks()),
        micro_(micro_memory_.data(), description.full_ranks()) {
    find_leaves();
    backend_.place(std::span<const cuda::ReferenceLeaf>(leaves_), leaf_memory_);
    norms_.reserve(leaves_.size());
  }

  /// Before a micro-batch with P in these rows.
  ReferenceMicroBatch<C, T> begin(const RankRows<float>& rows) {
    backend_.clear(micro_memory_.data(), trained_.parameters().size());
    if (!folds_p_) return {factors_, rows, micro_};
    place_p(rows);
    for_leaves("reference_scale", &cuda::reference_scale<T>, trained_.buffers().param, leaf_memory_.data(), p_memory_.data(),
               scaled_memory_.data());
    return {scaled_, RankRows<float>(ones_.data(), rows.active()), micro_};
  }
  /// After it: its gradients are added to the step's.
  void end(const RankRows<float>&) {
    for_leaves("reference_add", &cuda::reference_add, micro_memory_.data(), leaf_memory_.data(),
               folds_p_ ? p_memory_.data() : nullptr, trained_.gradients());
  }
  /// Clips and steps, unless the gradients' norm is not finite. \return it, before.
  double update(double learning_rate, const AdamWOptions& options, double max_norm) {
    const auto n = static_cast<long>(trained_.parameters().size()), leaves = static_cast<long>(leaves_.size());
    const cuda::Stream stream = backend_.device().stream();
    cuda::launch("reference_norms", {1, leaves}, 4 * cuda::reference_threads, stream, &cuda::reference_norms, trained_.gradients(),
                 leaf_memory_.data(), norms_.data());
    cuda::launch("reference_clip", {1}, cuda::reference_threads, stream, &cuda::reference_clip, norms_.data(), leaves, max_norm,
                 clip_.data());
    cuda::launch("reference_update", {cuda::blocks_for(n, cuda::reference_threads)}, cuda::reference_threads, stream,
                 &cuda::reference_update, trained_.buffers(), n, clip_.data(), trained_.next_step(learning_rate, options));
    cuda::ReferenceClip clip{};
    backend_.fetch(clip_.data(), std::span(&clip, 1));
    if (!std::isfinite(clip.norm)) trained_.forget_step();
    return static_cast<double>(clip.norm);
  }

 private:
  /// Where the factors of every kind lie; kinds without an adapter have none.
  void find_leaves() {
    for (const auto& layer : factors_.layers) {
      std::size_t kind = 0;
      long p = 0;
      for_each_leaf(layer, [&]<class L>(const L& leaf) {
        constexpr bool is_a = L::shape::column_count < 0;
        if (leaf.size() > 0)
          leaves_.push_back({static_cast<long>(leaf.data() - factors_.layers[0].q.A.data()), static_cast<long>(leaf.size()),
                             leaf.columns(), is_a ? p : -1L});
        if (is_a) p += factors_.full_ranks.of[kind++];
      });
    }
  }
  /// The row of P of every kind, one after the other.
  void place_p(const RankRows<float>& rows) {
    p_.clear();
    for (std::size_t kind = 0; kind < module_kinds; ++kind) {
      const auto& row = rows.of(kind);
      p_.insert(p_.end(), row.data, row.data + row.active_rank);
    }
    backend_.place(std::span<const float>(p_), p_memory_);
  }
  template <class Kernel, class... A>
  void for_leaves(const char* name, Kernel kernel, A... arguments) {
    long largest = 0;
    for (const cuda::ReferenceLeaf& leaf : leaves_) largest = std::max(largest, leaf.count);
    cuda::launch(name, {cuda::blocks_for(largest, 8 * cuda::reference_threads), static_cast<long>(leaves_.size())},
                 cuda::reference_threads, backend_.device().stream(), kernel, arguments...);
  }

  TrainedParameters<T, cuda::OnDevice>& trained_;
  cuda::OnDevice backend_;
  bool folds_p_;
  cuda::Buffer<T> scaled_memory_;
  cuda::Buffer<float> micro_memory_;
  cuda::Buffer<cuda::ReferenceClip> clip_;
  std::vector<float> ones_, p_;
  AdapterFactors<C, T> factors_, scaled_;
  AdapterFactors<C, float> micro_;
  std::vector<cuda::ReferenceLeaf> leaves_;
  cuda::Buffer<cuda::ReferenceLeaf> leaf_memory_;
  cuda::Buffer<float> p_memory_, norms_;
};

}  // namespace linden
