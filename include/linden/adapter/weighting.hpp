#pragma once
/// \file
/// The scaling s_r of a rank and the diagonal p that stands between the factors of an adapter: y = x W + ((x A) * p) B.
/// Shapes  p [R], any contiguous range of float or double; every entry is assigned.
/// Units   none. Sums are made in double and rounded once to p's type.
/// Errors  UsageError for a rank that is not in 1..R or a name that is unknown; in a constant it does not compile.
/// Source  MatryoshkaLoRA, arXiv:2605.07850, Algorithm 1; DyLoRA, arXiv:2210.07558; LoRA, arXiv:2106.09685.

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/adapter/rank_set.hpp>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <linden/core/names.hpp>
#include <ranges>
#include <string_view>
#include <type_traits>

namespace linden {

/// How an adapter's prefixes are trained.
enum class AdapterKind {
  lora,        ///< full rank only
  dylora,      ///< one rank a micro-batch, drawn uniformly
  matryoshka,  ///< the sum of all ranks at once
  stratified,  ///< every sequence of a batch at its own rank
};

/// s_r, the factor of an adapter used at rank r.
enum class Scaling {
  none,  ///< 1
  rank,  ///< 1 / r
  sqrt,  ///< 1 / sqrt(r)
};

namespace detail {

inline constexpr std::array<Named<AdapterKind>, 4> adapter_kind_names{{{AdapterKind::lora, "lora"},
                                                                       {AdapterKind::dylora, "dylora"},
                                                                       {AdapterKind::matryoshka, "matryoshka"},
                                                                       {AdapterKind::stratified, "stratified"}}};

inline constexpr std::array<Named<Scaling>, 3> scaling_names{
    {{Scaling::none, "none"}, {Scaling::rank, "rank"}, {Scaling::sqrt, "sqrt"}}};

[[noreturn]] inline void a_rank_must_be_between_1_and_the_full_rank(long rank, std::size_t R) {
  throw UsageError(text("adapter weights: rank ", rank, " is not in 1..", R, ", the adapter's full rank"));
}

[[noreturn]] inline void a_scaled_rank_must_be_positive(int rank) {
  throw UsageError(text("scale(", rank, "): a rank must be positive"));
}

/// sqrt(n), correctly rounded, in a constant too. Digit by digit: two bits of n give one bit of the root.
constexpr double square_root(std::uint32_t n) {
  std::uint64_t root = 0;
  std::uint64_t remainder = 0;
  int exponent = 16;                                    // of the root's last digit: n has 16 pairs of bits
  while (root < (std::uint64_t{1} << 53U) && n != 0) {  // 53 bits of a double and one to round by
    const auto pair = exponent > 0 ? (n >> (2U * static_cast<unsigned>(exponent - 1))) & 3U : 0U;
    remainder = (remainder << 2U) | pair;
    const std::uint64_t trial = (root << 2U) | 1U;
    const bool one = trial <= remainder;
    if (one) remainder -= trial;
    root = (root << 1U) | (one ? 1U : 0U);
    --exponent;
  }
  root = (root >> 1U) + (root & 1U);  // a tie would need an n of 107 bits
  double value = static_cast<double>(root);
  for (int i = exponent + 1; i < 0; ++i) value *= 0.5;
  return value;
}

}  // namespace detail

/// What parse_adapter_kind reads.
[[nodiscard]] constexpr std::string_view to_string(AdapterKind kind) {
  return name_of(kind, detail::adapter_kind_names);
}
/// What parse_scaling reads.
[[nodiscard]] constexpr std::string_view to_string(Scaling scaling) { return name_of(scaling, detail::scaling_names); }

/// "lora", "dylora", "matryoshka" or "stratified".
[[nodiscard]] inline AdapterKind parse_adapter_kind(std::string_view name) {
  return value_of(name, "adapter kind", detail::adapter_kind_names);
}

/// "none", "rank" or "sqrt".
[[nodiscard]] inline Scaling parse_scaling(std::string_view name) {
  return value_of(name, "scaling", detail::scaling_names);
}

/// s_r: 1, 1 / r or 1 / sqrt(r).
[[nodiscard]] constexpr double scale(Scaling scaling, int rank) {
  if (rank <= 0) detail::a_scaled_rank_must_be_positive(rank);
  switch (scaling) {
    case Scaling::none:
      return 1.0;
    case Scaling::rank:
      return 1.0 / rank;
    case Scaling::sqrt:
      break;
  }
  return 1.0 / detail::square_root(static_cast<std::uint32_t>(rank));
}

/// The storage of a diagonal p: contiguous and writable, of float or double.
template <class P>
concept DiagonalStorage = std::ranges::contiguous_range<P> && std::ranges::sized_range<P> &&
    Real<std::remove_reference_t<std::ranges::range_reference_t<P>>>;

/// Algorithm 1: p[i] = sum of s_r over the ranks r > i, so that x A diag(p) B is the sum of all scaled prefixes.
/// A largest rank below R leaves zeros at the end: those columns are not trained. One above R is refused (see up_to).
template <DiagonalStorage P>
constexpr void matryoshka_weights(P&& p, const RankSet& ranks, Scaling scaling) {
  using T = std::ranges::range_value_t<P>;
  auto* const data = std::ranges::data(p);
  std::size_t end = std::ranges::size(p);
  if (static_cast<std::size_t>(ranks.largest()) > end)
    detail::a_rank_must_be_between_1_and_the_full_rank(ranks.largest(), end);
  double sum = 0;
  for (std::size_t k = ranks.size(); k-- > 0; end = static_cast<std::size_t>(ranks[k])) {
    for (auto i = static_cast<std::size_t>(ranks[k]); i < end; ++i) data[i] = static_cast<T>(sum);
    sum += scale(scaling, ranks[k]);
  }
  for (std::size_t i = 0; i < end; ++i) data[i] = static_cast<T>(sum);
}

/// s_b on the first b columns, 0 on the rest: DyLoRA with active rank b, a sequence trained stratified at rank b,
/// or inference at rank b.
template <DiagonalStorage P>
constexpr void dylora_weights(P&& p, int b, Scaling scaling) {
  using T = std::ranges::range_value_t<P>;
  const std::size_t R = std::ranges::size(p);
  if (b <= 0 || static_cast<std::size_t>(b) > R) detail::a_rank_must_be_between_1_and_the_full_rank(b, R);
  const auto factor = static_cast<T>(scale(scaling, b));
  for (std::size_t i = 0; i < R; ++i) std::ranges::data(p)[i] = i < static_cast<std::size_t>(b) ? factor : T{0};
}

/// s_R everywhere: plain LoRA.
template <DiagonalStorage P>
constexpr void lora_weights(P&& p, Scaling scaling) {
  dylora_weights(p, static_cast<int>(std::ranges::size(p)), scaling);
}

}  // namespace linden
