#pragma once
/// \file
/// Weights to measure with, where their values do not matter.

#include <linden/core/random.hpp>
#include <linden/model/llama.hpp>
#include <memory>
#include <vector>

namespace linden::bench {

/// A model of C's shape, stored in bfloat16. Its layers share one stretch of random numbers, so that 8 billion weights need not be
/// made; `apart` false lets them share the memory, too.
template <class C>
FrozenLlama<C, float> random_checkpoint(bool apart) {
  struct Memory {
    std::vector<float> ones = std::vector<float>(C::hidden, 1.0F);
    std::vector<std::vector<bfloat16>> matrices;
  };
  const auto memory = std::make_shared<Memory>();
  std::vector<bfloat16> stretch(std::size_t(1) << 20U);
  TorchUniform uniform(3);
  for (bfloat16& element : stretch) element = static_cast<bfloat16>(uniform(-0.02F, 0.02F));
  const auto elements = [&](std::size_t count) {
    if (apart || memory->matrices.empty() || memory->matrices.front().size() < count) {
      auto& matrix = memory->matrices.emplace_back(count);
      for (std::size_t i = 0; i < count; ++i) matrix[i] = stretch[i % stretch.size()];
      return matrix.data();
    }
    return memory->matrices.front().data();
  };
  FrozenWeights<C, float> weights;
  weights.for_each([&]<class Leaf>(const std::string&, Leaf& leaf) {
    using S = typename Leaf::shape;
    if constexpr (S::axes == 1)
      leaf = TensorView<const float, S>(memory->ones.data());
    else
      leaf = TensorView<const bfloat16, S>::strided(elements(std::size_t(S::row_count * S::column_count)), S::row_count, S::column_count,
                                                    S::column_count);
  });
  if (C::tied) weights.head = weights.embedding;
  return {std::move(weights), memory};
}

}  // namespace linden::bench
