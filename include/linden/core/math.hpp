#pragma once
/// \file
/// Functions of one number written so that compilers turn loops over them into vector instructions.
/// Accuracy  exp<float>: within 2 units in the last place on [-87, 88], 0 below, infinity above, NaN for NaN.
/// Source    Cody & Waite 1980, "Software Manual for the Elementary Functions": reduction by ln 2 in two parts.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace linden::math {

/// e^x without a branch or a library call.
[[gnu::always_inline]] inline float exp(float x) {
  constexpr float lowest = -87.336F, highest = 88.722F;
  const float bounded = x < lowest ? lowest : (x > highest ? highest : x);
  const float shifted = bounded * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the integer part sits in the low bits
  const float n = shifted - 12582912.0F;
  const float r = (bounded - n * 0.693359375F) - n * -2.12194440e-4F;  // |r| <= ln(2) / 2
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n));
  // Two factors, so that 2^128 never has to exist.
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(exponent) >> 1);
  const float scaled = p * std::bit_cast<float>((half + 127U) << 23U) * std::bit_cast<float>((exponent - half + 127U) << 23U);
  const float above = x > highest ? std::numeric_limits<float>::infinity() : scaled;
  const float below = x < lowest ? 0.0F : above;
  return x == x ? below : x;
}
inline double exp(double x) { return std::exp(x); }

/// 1 / (1 + e^-x).
template <class T>
[[gnu::always_inline]] inline T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

}  // namespace linden::math
