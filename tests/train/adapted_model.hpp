#pragma once
/// \file
/// What tests of training passes share: packed batches and a model with an adapter of rank 3, all of them made of a
/// seed.

#include <algorithm>
#include <initializer_list>
#include <linden/train/llama_pass.hpp>
#include <span>
#include <vector>

#include "support/expect_gradient.hpp"

namespace linden::test {

/// Sequences of different lengths; the first token of each is a prompt without a target.
inline Batch batch_of(std::initializer_list<long> lengths, long vocabulary_size) {
  Batch batch;
  std::int32_t next = 1;
  for (const long length : lengths) {
    Sample sample;
    for (long t = 0; t < length; ++t) {
      sample.ids.push_back(std::int32_t((next += 5) % vocabulary_size));
      sample.labels.push_back(t == 1 ? Sample::ignored : sample.ids.back());
    }
    batch.append(sample, 512);
  }
  return batch;
}

/// Uniform in (-deviation, deviation).
template <class T>
std::vector<T> values(std::size_t count, std::uint64_t seed, double deviation) {
  PythonRandom random(seed);
  std::vector<T> out(count);
  for (T& e : out) e = static_cast<T>(deviation * (2 * random.random() - 1));
  return out;
}

inline constexpr long R = 3;  ///< rank of the adapters
/// A random model and adapter, its pass and its gradients.
template <class C, class T, Keep Policy = Keep::costly>
struct Adapted {
  Llama<C, T> weights = Llama<C, T>::random(3, 0.3);
  FrozenLlama<C, T> model{weights};
  std::vector<T> flat = values<T>(std::size_t(AdapterFactors<C, T>::count(R)), 5, 0.4), flat_gradient = flat;
  AdapterFactors<C, T> factors{flat.data(), R}, gradients{flat_gradient.data(), R};
  std::vector<T> p = values<T>(std::size_t(R), 6, 2);
  AdapterPass<C, T, Policy> pass;

  double run(const Batch& batch, double scale) {
    std::ranges::fill(flat_gradient, T(0));
    return pass.run(model, factors, {p.data(), R, 0}, gradients, batch, scale);
  }
};

/// Small enough for central differences over every weight, with grouped heads, untied tables and two layers.
struct Tiny {
  static constexpr const char* name = "tiny";
  static constexpr long hidden = 8, intermediate = 10, layers = 2;
  static constexpr long heads = 4, kv_heads = 2, head_size = 2;
  static constexpr long vocabulary = 7, positions = 16;
  static constexpr double epsilon = 1e-5, theta = 100;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{};
};
struct TinyTied : Tiny {
  static constexpr bool tied = true;
};

/// Relative L2 of `gradient` against central differences of `loss` over `x`.
inline double error_of_gradient(std::span<double> x, const std::vector<double>& gradient, auto loss) {
  std::vector<double> differences(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i], h = 1e-5;
    x[i] = kept + h;
    differences[i] = loss();
    x[i] = kept - h;
    differences[i] = (differences[i] - loss()) / (2 * h);
    x[i] = kept;
  }
  return relative_l2(gradient, differences);
}

}  // namespace linden::test
