#pragma once
/// \file
/// How far a float lies from a number, in the unit of its last digit.

#include <cmath>
#include <limits>

namespace linden::test {

/// |found - exact| in units in the last place of exact rounded to float.
inline double units_in_the_last_place(float found, double exact) {
  const auto rounded = static_cast<float>(exact);
  const float next = std::nextafter(rounded, std::numeric_limits<float>::infinity());
  return std::abs(static_cast<double>(found) - exact) / static_cast<double>(next - rounded);
}

}  // namespace linden::test
