#pragma once
/// \file
/// Area under the rank-accuracy curve, by the trapezoid rule, divided by the range of ranks: a mean accuracy.
/// Units   the result has the unit of the values (fractions or percent); the rank axis is linear or log2.
/// Errors  UsageError where the ranks are empty, not positive or not strictly ascending, where there are not as many
///         values as ranks, and where a value is not finite.
/// Source  MatryoshkaLoRA, arXiv:2605.07850 (its code says v1 for AURAC and v2 for log-AURAC).

#include <cmath>
#include <cstddef>
#include <linden/core/error.hpp>
#include <span>

namespace linden {

namespace detail {

[[noreturn]] inline void refuse_curve(std::span<const int> ranks, std::span<const double> values, std::size_t i) {
  if (ranks.size() != values.size())
    throw UsageError(text("aurac(ranks, values): ", ranks.size(), " ranks but ", values.size(), " values"));
  if (ranks.empty()) throw UsageError("aurac(ranks, values): there are no ranks; the area of no point is undefined");
  if (ranks[i] <= 0) throw UsageError(text("aurac(ranks, values): rank ", ranks[i], " is not positive"));
  if (i > 0 && ranks[i] <= ranks[i - 1])
    throw UsageError(text("aurac(ranks, values): rank ", ranks[i], " follows rank ", ranks[i - 1],
                          "; ranks must be strictly ascending"));
  throw UsageError(text("aurac(ranks, values): the value at rank ", ranks[i], " is ", values[i], ", not finite"));
}

constexpr void check_curve(std::span<const int> ranks, std::span<const double> values) {
  if (ranks.size() != values.size() || ranks.empty()) refuse_curve(ranks, values, 0);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const bool finite = values[i] >= -1.7976931348623157e308 && values[i] <= 1.7976931348623157e308;
    if (ranks[i] <= (i == 0 ? 0 : ranks[i - 1]) || !finite) refuse_curve(ranks, values, i);
  }
}

template <class Axis>
constexpr double normalised_area(std::span<const int> ranks, std::span<const double> values, Axis axis) {
  check_curve(ranks, values);
  const std::size_t m = ranks.size();
  if (m == 1) return values[0];
  double area = 0;
  for (std::size_t i = 0; i + 1 < m; ++i)
    area += (axis(ranks[i + 1]) - axis(ranks[i])) * (0.5 * values[i] + 0.5 * values[i + 1]);
  return area / (axis(ranks[m - 1]) - axis(ranks[0]));
}

}  // namespace detail

/// AURAC: linear rank axis, so the largest ranks count most. One rank gives its value.
[[nodiscard]] constexpr double aurac(std::span<const int> ranks, std::span<const double> values) {
  return detail::normalised_area(ranks, values, [](int rank) { return static_cast<double>(rank); });
}

/// log-AURAC: log2 rank axis, so every doubling counts alike. One rank gives its value.
[[nodiscard]] inline double log_aurac(std::span<const int> ranks, std::span<const double> values) {
  return detail::normalised_area(ranks, values, [](int rank) { return std::log2(static_cast<double>(rank)); });
}

}  // namespace linden
