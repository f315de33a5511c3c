#pragma once
/// \file
/// Mean and standard deviation of a few repetitions.
/// Units   those of the values; the deviation is the sample's (n - 1), NaN for a single value.
/// Errors  UsageError for no values.

#include <cmath>
#include <cstddef>
#include <limits>
#include <linden/core/error.hpp>  // UsageError
#include <span>

namespace linden::examples {

struct Statistic {
  double mean = 0;
  double deviation = std::numeric_limits<double>::quiet_NaN();
};

/// Two passes, so that close values keep their digits.
[[nodiscard]] inline Statistic statistic_of(std::span<const double> values) {
  if (values.empty()) throw UsageError("statistic_of(values): there are no values");
  const auto n = static_cast<double>(values.size());
  Statistic result;
  for (const double value : values) result.mean += value;
  result.mean /= n;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.deviation = std::sqrt(squares / (n - 1));
  return result;
}

}  // namespace linden::examples
