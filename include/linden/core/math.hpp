#pragma once
/// \file
/// Functions of one number written so that compilers turn loops over them into vector instructions.
/// Accuracy  exp<float>: within 2 units in the last place on [-86.9, 88.7], 0 below -87.1, infinity above 88.73, NaN for NaN.
/// Source    Cody & Waite 1980, "Software Manual for the Elementary Functions": reduction by ln 2 in two parts.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace linden::math {

/// e^x = fraction * 2^power, power an integer. F: float, or a compiler's vector of floats.
template <class F>
struct ExpParts {
  F power, fraction;  ///< e^x is 2^power * fraction
};
/// For |x| <= 89.
template <class F>
[[gnu::always_inline]] constexpr ExpParts<F> exp_parts(F x) {
  const F n = (x * 1.44269504F + 12582912.0F) - 12582912.0F;  // 1.5 * 2^23: has no room for what follows the point
  const F r = (x - n * 0.693359375F) - n * -2.12194440e-4F;   // |r| <= ln(2) / 2
  F p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  return {n, p * (r * r) + r + 1.0F};
}

/// e^x for |x| <= 89, without a branch; I: integers as wide as F's floats.
template <class I, class F>
[[gnu::always_inline]] constexpr F exp_bounded(F x) {
  const ExpParts<F> parts = exp_parts(x);
  // power + 126, an integer in the low bits; 0 becomes 0.0, not 2^-127. One more factor of 2: 2^128 does not exist.
  const I raised = std::bit_cast<I>(parts.power + 12582912.0F) - (0x4B400000 - 126);
  return (parts.fraction + parts.fraction) * std::bit_cast<F>((raised & ~(raised >> 31)) << 23);
}

/// e^x without a branch or a library call. Compares integers only: without masked instructions (AVX-512) GCC turns no loop
/// into vector instructions in which arithmetic depends on a comparison of floats.
[[gnu::always_inline]] constexpr float exp(float x) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  const std::int32_t size = bits & 0x7FFFFFFF, limit = 0x42B20000;  // 89
  const std::int32_t nan = (0x7F800000 - size) >> 31;              // all ones for NaN
  const float bounded = std::bit_cast<float>((bits ^ size) | (size > limit ? limit : size));
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(exp_bounded<std::int32_t>(bounded)) | nan);
}
inline double exp(double x) { return std::exp(x); }  ///< e^x

/// 1 / (1 + e^-x).
template <class T>
[[gnu::always_inline]] constexpr T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

/// Hyperbolic tangent: within 10 units in the last place. Near 0, where 2 sigmoid(2x) - 1 would cancel, its series.
[[gnu::always_inline]] constexpr float tanh(float x) {
  const float s = x * x;
  const float series = x + x * s * (-0.33333334F + s * (0.13333334F + s * (-0.053968254F + s * 0.021869488F)));
  const float far = 2.0F * sigmoid(2.0F * x) - 1.0F;
  const std::int32_t near = (std::bit_cast<std::int32_t>(s) - 0x3D800000) >> 31;  // all ones where s < 0.0625
  return std::bit_cast<float>((std::bit_cast<std::int32_t>(series) & near) | (std::bit_cast<std::int32_t>(far) & ~near));
}
inline double tanh(double x) { return std::tanh(x); }  ///< tanh x

/// join(x[0], x[1], ...) over n >= 0 elements, in sixteen running values that are joined in the end: vector instructions, and
/// an order that depends on n alone. `start` must be neutral.
template <class T, class Join, class Element>
[[gnu::always_inline]] inline T reduce(long n, T start, Join join, Element element) {
  constexpr long lanes = 16;
  std::array<T, lanes> running;
  running.fill(start);
  long i = 0;
  for (; i + lanes <= n; i += lanes)
    for (long lane = 0; lane < lanes; ++lane) {
      T& value = running[static_cast<std::size_t>(lane)];
      value = join(value, element(i + lane));
    }
  T result = start;
  for (; i < n; ++i) result = join(result, element(i));
  for (const T value : running) result = join(result, value);
  return result;
}

/// x[0] + ... + x[n - 1], in reduce's order.
template <class T>
[[gnu::always_inline]] inline T sum(const T* x, long n) {
  return reduce(n, T(0), [](T a, T b) { return a + b; }, [x](long i) { return x[i]; });
}
/// x[0] y[0] + ... + x[n - 1] y[n - 1], in reduce's order.
template <class T>
[[gnu::always_inline]] inline T dot(const T* x, const T* y, long n) {
  return reduce(n, T(0), [](T a, T b) { return a + b; }, [x, y](long i) { return x[i] * y[i]; });
}
/// Minus infinity for n = 0.
template <class T>
[[gnu::always_inline]] inline T max(const T* x, long n) {
  return reduce(n, -std::numeric_limits<T>::infinity(), [](T a, T b) { return a > b ? a : b; }, [x](long i) { return x[i]; });
}

}  // namespace linden::math
