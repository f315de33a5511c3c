#pragma once
/// \file
/// Element types: float and double compute, bfloat16 and float16 store.
/// Rounding to the 16-bit types is to nearest, ties to even; NaN stays NaN, overflow becomes infinity.
/// Source  IEEE 754-2019; bfloat16 is the upper half of a binary32.

#include <bit>
#include <concepts>
#include <cstdint>

namespace linden {

/// 16-bit storage with float's exponent range (8 bits) and 8 bits of precision.
struct bfloat16 {
  std::uint16_t bits = 0;  ///< sign, 8 bits of exponent, 7 of fraction

  bfloat16() = default;
  /// Rounded to the nearest, ties to even.
  constexpr explicit bfloat16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  /// Exact.
  constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }
  /// As floats: 0 equals -0, nothing equals NaN.
  friend constexpr bool operator==(bfloat16 a, bfloat16 b) { return float(a) == float(b); }

 private:
  static constexpr std::uint16_t round(std::uint32_t f) {
    if ((f & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((f >> 16U) | 0x0040U);  // quiet NaN
    return static_cast<std::uint16_t>((f + 0x7fffU + ((f >> 16U) & 1U)) >> 16U);
  }
};

/// 16-bit storage of IEEE binary16: 5 exponent bits, 11 bits of precision.
struct float16 {
  std::uint16_t bits = 0;  ///< sign, 5 bits of exponent, 10 of fraction

  float16() = default;
  /// Rounded to the nearest, ties to even.
  constexpr explicit float16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  /// Exact.
  constexpr operator float() const {
    const std::uint32_t sign = (bits & 0x8000U) << 16U;
    const std::uint32_t exponent = (bits >> 10U) & 0x1fU;
    const std::uint32_t fraction = bits & 0x3ffU;
    if (exponent == 0x1fU) return std::bit_cast<float>(sign | 0x7f800000U | (fraction << 13U));
    if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (fraction << 13U));
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;  // subnormal or zero, exact
    return sign != 0 ? -magnitude : magnitude;
  }
  /// As floats: 0 equals -0, nothing equals NaN.
  friend constexpr bool operator==(float16 a, float16 b) { return float(a) == float(b); }

 private:
  static constexpr std::uint16_t round(std::uint32_t f) {
    const auto sign = static_cast<std::uint16_t>((f >> 16U) & 0x8000U);
    const std::uint32_t magnitude = f & 0x7fffffffU;
    if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);   // NaN
    if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to 2^16 or more
    if (magnitude < 0x38800000U) {                                                    // below 2^-14: subnormal
      const std::uint32_t exponent = magnitude >> 23U;
      if (exponent < 102U) return sign;  // below 2^-25
      const std::uint32_t significand = (magnitude & 0x7fffffU) | 0x800000U;
      const std::uint32_t shift = 126U - exponent;  // to units of 2^-24
      const std::uint32_t half = (1U << (shift - 1U)) - 1U + ((significand >> shift) & 1U);
      return static_cast<std::uint16_t>(sign | ((significand + half) >> shift));
    }
    const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13U) & 1U);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U));
  }
};

/// Types linden computes with.
template <class T>
concept Real = std::same_as<T, float> || std::same_as<T, double>;

/// Types linden stores: those it computes with, the 16-bit ones and 32-bit ids.
template <class T>
concept Element = Real<T> || std::same_as<T, bfloat16> || std::same_as<T, float16> || std::same_as<T, std::int32_t>;

}  // namespace linden
