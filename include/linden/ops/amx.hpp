#pragma once
/// \file
/// A processor's matrix unit (AMX), which multiplies bfloat16 and sums in float, sixteen times as fast as its vector
/// units multiply floats: the right to use it, its registers, and matrices packed for them. A float is the sum of three
/// bfloat16 without error: its 24 bits of precision are cut into three times eight. So three products of a float and a
/// bfloat16 give what one of floats would, nearer to the true one even: sums of 32 are added at a time. Infinities
/// become NaN. (Two floats would take six products. Measured: a third faster where a core is ours alone, a third slower
/// where another program uses its other hardware thread. So products of floats stay with the vector units.) Source
/// Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
///         computations"; Intel Architecture Instruction Set Extensions Programming Reference, chapter "AMX".

#if defined(__linux__) && defined(__AVX512BW__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
#define LINDEN_AMX 1

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <linden/core/element.hpp>
#include <linden/ops/gemm_tile.hpp>  // pack_square
#include <type_traits>

namespace linden::detail {

/// Whether this process may use the matrix unit: Linux wants to be asked, once.
inline bool may_use_amx() {
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
}

/// While it lives, the calling thread's eight tile registers have 16 rows of 64 bytes: 32 bfloat16, or 16 sums.
class AmxRegisters {
 public:
  AmxRegisters() {
    alignas(64) static constexpr Configuration all{};
    _tile_loadconfig(&all);
  }
  ~AmxRegisters() { _tile_release(); }
  AmxRegisters(const AmxRegisters&) = delete;
  AmxRegisters& operator=(const AmxRegisters&) = delete;

 private:
  struct Configuration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
};

/// Matrices as a sequence of registers. Packed, a panel of 32 lines has, for every 32 elements of k, for every part, a
/// register of the first 16 lines and one of the last 16.
struct AmxPacking {
  static constexpr long lines = 16, deep = 32, in_register = lines * deep;
  template <int Parts>
  static constexpr long step = Parts * 2 * in_register;  ///< elements of a panel for 32 of k
  static constexpr long steps(long depth) { return (depth + deep - 1) / deep; }

  /// `count` lines of `depth` elements, zeros beyond them; three parts of floats, one of bfloat16. `along`: the
  /// elements of a line are neighbours, and lines `stride` apart; otherwise the other way round. A register holds pairs
  /// along k: pair r of line i at row i, column r (A) or the other way round (`paired`: B).
  template <class E>
  static void pack_panel(const E* data, long stride, bool along, bool paired, long count, long depth, bfloat16* to) {
    constexpr int parts = std::is_same_v<E, float> ? 3 : 1;
    const long next_line = along ? stride : 1, next = along ? 1 : stride;
    for (long l = 0; l < depth; l += deep, to += step<parts>)
      for (long half = 0; half < 2; ++half) {
        const E* const corner = data + half * lines * next_line + l * next;
        bfloat16* const registers = to + half * in_register;
        const long present = std::clamp(count - half * lines, 0L, lines), left = std::min(deep, depth - l);
        along ? read_lines(corner, stride, present, left, registers)
              : read_pairs(corner, stride, present, left, registers);
        if (along == paired)
          for (int p = 0; p < parts; ++p) transpose(registers + p * step<1>);
      }
  }

  /// C = or += a register of sums [16, 16], as much of it as C has.
  static void write_sums(const float* sums, long rows, long columns, float* to, long stride, bool accumulate) {
    const __mmask16 there = first(columns);
    for (long r = 0; r < rows; ++r, to += stride) {
      __m512 sum = _mm512_load_ps(sums + r * lines);
      if (accumulate) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(there, to), sum);
      _mm512_mask_storeu_ps(to, there, sum);
    }
  }

  /// Rows and columns of a register of 4-byte elements change places.
  static void transpose(void* registers) {
    auto* const elements = static_cast<float*>(registers);
    pack_square<float>(elements, lines, packet_size<float>, elements, lines);
  }

  static constexpr long ahead = 4;  // registers: so early are elements asked for that will be packed

  static __mmask16 first(long count) { return static_cast<__mmask16>((1U << std::clamp(count, 0L, 16L)) - 1U); }
  static __m512i* row(bfloat16* registers, int part, long i) {
    return reinterpret_cast<__m512i*>(registers + part * step<1> + i * deep);
  }

  /// The parts of two packets of floats; `join` makes a row of a register of their upper halves.
  static void split(__m512 x, __m512 y, bfloat16* registers, long i, const auto& join) {
    const __m512 upper = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xffff0000U)));
    for (int p = 0; p < 3; ++p) {
      _mm512_store_si512(row(registers, p, i), join(_mm512_castps_si512(x), _mm512_castps_si512(y)));
      x = _mm512_sub_ps(x, _mm512_and_ps(x, upper));
      y = _mm512_sub_ps(y, _mm512_and_ps(y, upper));
    }
  }

  static void read_lines(const float* data, long stride, long present, long left, bfloat16* registers) {
    alignas(64) static constexpr auto odd = [] {
      std::array<std::uint16_t, 32> index{};
      for (std::size_t w = 0; w < 32; ++w) index[w] = static_cast<std::uint16_t>(2 * w + 1);
      return index;
    }();
    const __m512i upper_halves = _mm512_load_si512(odd.data());
    const __mmask16 low = first(left), last = first(left - 16);
    for (long i = 0; i < lines; ++i) {
      const bool there = i < present;
      const float* const line = data + (there ? i : 0) * stride;
      for (long e = 0; e < deep; e += 16) __builtin_prefetch(line + ahead * deep + e);
      split(_mm512_maskz_loadu_ps(there ? low : __mmask16(0), line),
            _mm512_maskz_loadu_ps(there ? last : __mmask16(0), line + 16), registers, i,
            [&](__m512i x, __m512i y) { return _mm512_permutex2var_epi16(x, upper_halves, y); });
    }
  }
  static void read_lines(const bfloat16* data, long stride, long present, long left, bfloat16* registers) {
    const auto there = static_cast<__mmask32>((std::uint64_t(1) << left) - 1U);
    for (long i = 0; i < lines; ++i) {
      const bfloat16* const line = data + (i < present ? i : 0) * stride;
      __builtin_prefetch(line + ahead * deep);
      _mm512_store_si512(row(registers, 0, i), _mm512_maskz_loadu_epi16(i < present ? there : __mmask32(0), line));
    }
  }

  static void read_pairs(const float* data, long stride, long present, long left, bfloat16* registers) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    const __mmask16 there = first(present);
    const auto load = [&](long k) {
      __builtin_prefetch(data + (k + deep) * stride);
      return k < left ? _mm512_maskz_loadu_ps(there, data + k * stride) : _mm512_setzero_ps();
    };
    for (long r = 0; r < lines; ++r)
      split(load(2 * r), load(2 * r + 1), registers, r, [&](__m512i x, __m512i y) {
        return _mm512_or_si512(_mm512_srli_epi32(x, 16), _mm512_and_si512(y, upper));
      });
  }
  static void read_pairs(const bfloat16* data, long stride, long present, long left, bfloat16* registers) {
    const __mmask16 there = first(present);
    const auto load = [&](long k) {
      __builtin_prefetch(data + (k + deep) * stride);
      return k < left ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, data + k * stride))
                      : _mm512_setzero_si512();
    };
    for (long r = 0; r < lines; ++r)
      _mm512_store_si512(row(registers, 0, r), _mm512_or_si512(load(2 * r), _mm512_slli_epi32(load(2 * r + 1), 16)));
  }
};

}  // namespace linden::detail

#endif
