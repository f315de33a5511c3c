#pragma once
/// \file
/// Vector registers, as Eigen's packets: reading rows of any stored element type into them, and e^x of every lane.

#include <Eigen/Core>
#include <bit>
#include <cstdint>
#include <cstring>
#include <linden/core/element.hpp>
#include <linden/core/math.hpp>
#include <type_traits>

namespace linden::detail {

template <class T>
using Packet = typename Eigen::internal::packet_traits<T>::type;
template <class T>
inline constexpr long packet_size = Eigen::internal::packet_traits<T>::size;

template <class T>
[[gnu::always_inline]] inline Packet<T> load_packet(const T* from) {
  return Eigen::internal::ploadu<Packet<T>>(from);
}
template <class E, class T>
struct LanesOf {
  typedef E type __attribute__((vector_size(sizeof(E) * std::size_t(packet_size<T>))));
};
/// As many of E as a packet of T holds, as the compiler's own vector.
template <class E, class T>
using Lanes = typename LanesOf<E, T>::type;

/// Widened in registers: a detour over memory would wait for its own stores.
template <class T>
[[gnu::always_inline]] inline Packet<T> load_packet(const bfloat16* from) {
#ifdef __AVX512F__  // two instructions; GCC would make five of what follows
  if constexpr (packet_size<T> == 16)
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
#endif
#ifdef __AVX2__
  if constexpr (packet_size<T> == 8 && sizeof(T) == 4)
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16));
#endif
  Lanes<std::uint16_t, T> halves;
  std::memcpy(&halves, from, sizeof(halves));
  const auto floats = std::bit_cast<Lanes<float, T>>(__builtin_convertvector(halves, Lanes<std::uint32_t, T>) << 16);
  return std::bit_cast<Packet<T>>(__builtin_convertvector(floats, Lanes<T, T>));
}

/// Of 16 registers GCC saves some by reading an operand from memory once for each use, which takes longer.
template <class Register>
[[gnu::always_inline]] inline void keep_in_register([[maybe_unused]] Register& value) {
#if defined(__AVX__) && !defined(__AVX512F__)
  asm("" : "+x"(value));
#endif
}

/// e^x of every lane, as near as math::exp.
template <class T>
[[gnu::always_inline]] inline Packet<T> exp_packet(Packet<T> x) {
  if constexpr (std::is_same_v<T, float>) {
    using namespace Eigen::internal;
    using Floats = Lanes<float, float>;
    x = pmin(x, pset1<Packet<T>>(89.0F));  // NaN stays NaN
#ifdef __AVX512F__  // which scales by a power of two in one instruction: half of what compilers make of math::exp
    if constexpr (packet_size<T> == 16) {
      const auto counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.336F), _CMP_NLT_UQ);  // NaN does
      const auto parts = math::exp_parts(std::bit_cast<Floats>(x));
      return _mm512_maskz_scalef_ps(counts, std::bit_cast<Packet<T>>(parts.fraction), std::bit_cast<Packet<T>>(parts.power));
    }
#endif
    x = pmax(x, pset1<Packet<T>>(-89.0F));
    return std::bit_cast<Packet<T>>(math::exp_bounded<Lanes<std::int32_t, float>>(std::bit_cast<Floats>(x)));
  } else {
    alignas(64) T lanes[packet_size<T>];
    Eigen::internal::pstore(lanes, x);
    for (T& lane : lanes) lane = math::exp(lane);
    return Eigen::internal::pload<Packet<T>>(lanes);
  }
}

/// Of 32 vector registers (AVX-512, NEON) about 27 can be sums; of 16, 12.
inline constexpr int sum_registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 27 : 12;

}  // namespace linden::detail
