#pragma once
/// \file
/// Random numbers that repeat those of other programs, bit for bit, plus a normal generator for initialising models.
/// PythonRandom        random.Random of CPython 3, seeded with a non-negative integer.
/// random_permutation  torch.randperm on the CPU.   TorchUniform  Tensor.uniform_ on the CPU, float32.
/// Errors  UsageError for impossible requests (below(0), more samples than items).
/// Source  Matsumoto, Nishimura 1998, "Mersenne Twister" (init_by_array: their 2002 revision); Box, Muller 1958.

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <linden/core/error.hpp>
#include <numbers>
#include <numeric>
#include <random>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

namespace linden {

namespace detail {

/// Hands std::mt19937 the state that init_by_array makes of the 32-bit limbs of a seed, lowest limb first.
/// (std::mt19937 takes the 624 words of a seed sequence as its state unchanged.)
class InitByArray {
 public:
  using result_type = std::uint32_t;

  explicit InitByArray(std::uint64_t seed)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
        key_length_(key_[1] == 0 ? 1 : 2) {}

  template <class Iterator>
  void generate(Iterator begin, Iterator end) const {
    const auto state = words();
    for (std::size_t i = 0; begin != end; ++begin, ++i) *begin = state[i % state.size()];
  }

 private:
  static constexpr std::size_t length = std::mt19937::state_size;

  [[nodiscard]] std::array<std::uint32_t, length> words() const {
    std::array<std::uint32_t, length> mt{};
    mt[0] = 19650218U;
    for (std::size_t i = 1; i < length; ++i) mt[i] = 1812433253U * mixed(mt[i - 1]) + static_cast<std::uint32_t>(i);
    std::size_t i = 1;
    const auto advance = [&] {
      if (++i < length) return;
      mt[0] = mt[length - 1];
      i = 1;
    };
    for (std::size_t k = 0; k < length; ++k) {  // 624 is at least the key length, so this many rounds
      const std::size_t j = k % key_length_;
      mt[i] = (mt[i] ^ (mixed(mt[i - 1]) * 1664525U)) + key_[j] + static_cast<std::uint32_t>(j);
      advance();
    }
    for (std::size_t k = 1; k < length; ++k) {
      mt[i] = (mt[i] ^ (mixed(mt[i - 1]) * 1566083941U)) - static_cast<std::uint32_t>(i);
      advance();
    }
    mt[0] = 0x80000000U;  // never the all-zero state
    return mt;
  }

  static constexpr std::uint32_t mixed(std::uint32_t word) { return word ^ (word >> 30U); }

  std::array<std::uint32_t, 2> key_;
  std::size_t key_length_;
};

}  // namespace detail

/// CPython's random.Random(seed). Copying it copies the state: both copies then give the same numbers.
class PythonRandom {
 public:
  /// random.Random(seed).
  explicit PythonRandom(std::uint64_t seed) {
    detail::InitByArray sequence(seed);
    engine_.seed(sequence);
  }

  /// The next 32 bits of the generator: getrandbits(32).
  std::uint32_t next32() { return static_cast<std::uint32_t>(engine_()); }

  /// getrandbits(count), 0 <= count <= 64.
  std::uint64_t bits(int count) {
    if (count < 0 || count > 64) throw UsageError(text("PythonRandom::bits(", count, "): count must be in 0..64"));
    if (count == 0) return 0;
    if (count <= 32) return next32() >> (32 - count);
    const std::uint64_t low = next32();  // words come lowest first
    return low | (std::uint64_t{next32() >> (64 - count)} << 32U);
  }

  /// Uniform in 0..n-1: randrange(n).
  std::uint64_t below(std::uint64_t n) {
    if (n == 0) throw UsageError("PythonRandom::below(0): there is no number below 0");
    const int width = static_cast<int>(std::bit_width(n));
    std::uint64_t draw = bits(width);
    while (draw >= n) draw = bits(width);
    return draw;
  }

  /// Uniform in low..high, both included: randint(low, high).
  std::int64_t between(std::int64_t low, std::int64_t high) {
    if (low > high) throw UsageError(text("PythonRandom::between(", low, ", ", high, "): low is above high"));
    const std::uint64_t first = static_cast<std::uint64_t>(low);
    const std::uint64_t count = static_cast<std::uint64_t>(high) - first + 1;
    return static_cast<std::int64_t>(first + (count == 0 ? bits(64) : below(count)));
  }

  /// Uniform in [0, 1), a multiple of 2^-53: random().
  double random() {
    const std::uint64_t high = next32() >> 5U;
    const std::uint64_t low = next32() >> 6U;
    return static_cast<double>((high << 26U) | low) * 0x1p-53;
  }

  /// `count` different indices below `n`, in drawn order: sample(range(n), count).
  [[nodiscard]] std::vector<std::size_t> sample(std::size_t n, std::size_t count) {
    if (count > n) throw UsageError(text("PythonRandom::sample(", n, ", ", count, "): more samples than items"));
    return n <= pool_limit(count) ? sample_from_pool(n, count) : sample_by_redrawing(n, count);
  }

  /// Random order of `items`, in place: shuffle(items).
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  /// Largest n for which CPython copies the whole range: 21, or the size of a hash set of `count` items beyond it.
  static std::size_t pool_limit(std::size_t count) {
    std::size_t limit = 21;
    if (count <= 5) return limit;
    std::size_t table = 1;
    while (table / 3 < count) table *= 4;  // the smallest power of 4 above 3 count (3 count is never one itself)
    return limit + table;
  }

  std::vector<std::size_t> sample_from_pool(std::size_t n, std::size_t count) {
    std::vector<std::size_t> pool(n);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    std::vector<std::size_t> chosen(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t j = below(n - i);
      chosen[i] = pool[j];
      pool[j] = pool[n - i - 1];
    }
    return chosen;
  }

  std::vector<std::size_t> sample_by_redrawing(std::size_t n, std::size_t count) {
    std::unordered_set<std::size_t> seen;
    std::vector<std::size_t> chosen(count);
    for (auto& index : chosen) {
      index = below(n);
      while (!seen.insert(index).second) index = below(n);
    }
    return chosen;
  }

  std::mt19937 engine_;
};

/// torch.randperm(n) of a fresh CPU generator seeded `seed` (its low 32 bits count).
/// \throws UsageError where n is so large that torch changes to 64-bit draws.
[[nodiscard]] inline std::vector<std::size_t> random_permutation(std::size_t n, std::uint64_t seed) {
  constexpr std::size_t limit = 0xffffffffU / 20;
  if (n >= limit) throw UsageError(text("random_permutation(", n, "): n must be below ", limit));
  std::mt19937 engine(static_cast<std::uint32_t>(seed));
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = 0; i + 1 < n; ++i) std::swap(order[i], order[i + engine() % (n - i)]);
  return order;
}

/// torch's float32 uniform numbers on the CPU: 24 random bits each.
class TorchUniform {
 public:
  /// Only the low 32 bits of the seed count, as in torch.
  explicit TorchUniform(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  /// Uniform in [from, to); rounding may give `to` itself.
  float operator()(float from, float to) {
    const double unit = static_cast<double>(engine_() & 0xffffffU) * 0x1p-24;
    // The product is exact in double and rounded once: no compiler can fuse it with the float addition.
    const auto offset = static_cast<float>(unit * static_cast<double>(to - from));
    return from + offset;
  }

 private:
  std::mt19937 engine_;
};

/// Standard normal numbers by Box and Muller from 53-bit uniform ones: a fixed sequence for a seed.
class NormalRandom {
 public:
  /// The sequence of `seed`.
  explicit NormalRandom(std::uint64_t seed) : uniform_(seed) {}

  /// Mean 0, standard deviation 1.
  double operator()() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_.random()));  // 1 - u is in (0, 1]
    const double angle = 2.0 * std::numbers::pi * uniform_.random();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }

 private:
  PythonRandom uniform_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace linden
