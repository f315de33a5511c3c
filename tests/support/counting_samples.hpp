#pragma once
/// \file
/// Training samples that a small model can learn: sequences of different lengths that count upwards.

#include <cstdint>
#include <linden/core/random.hpp>
#include <linden/data/sample.hpp>
#include <vector>

namespace linden::test {

/// What the sequences are like: ids 2 to values + 1 after a 1, `shortest` to `shortest + spread - 1` of them, of which the first
/// `prompt` are not learned.
struct Counting {
  std::int32_t values, shortest, spread, prompt;
};

inline std::vector<Sample> counting_samples(std::size_t count, const Counting& like) {
  PythonRandom random(3);
  const auto below = [&random](std::int32_t limit) { return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(limit))); };
  std::vector<Sample> all;
  for (std::size_t i = 0; i < count; ++i) {
    Sample sample{{1}, {Sample::ignored}, static_cast<long>(i)};
    const std::int32_t start = below(like.values / 2 + 1), length = like.shortest + below(like.spread);
    for (std::int32_t k = 0; k < length; ++k) {
      sample.ids.push_back(2 + (start + k) % like.values);
      sample.labels.push_back(k < like.prompt ? Sample::ignored : sample.ids.back());
    }
    all.push_back(sample);
  }
  return all;
}

}  // namespace linden::test
