#pragma once
/// \file
/// Products of at most 16 rows of floats with a matrix stored as bfloat16, as in generation, on a processor's matrix
/// unit (amx.hpp). The matrix is read once, where it lies, as the left factor of C^T = B A^T: sixteen rows cost little
/// more than reading it.

#include <linden/ops/amx.hpp>

#ifdef LINDEN_AMX
#include <atomic>
#include <linden/core/parallel.hpp>
#include <linden/core/scratch.hpp>

namespace linden::detail {

struct AmxFewRows : AmxPacking {
  static constexpr long most = lines;

  long m, n, k;
  const float* a;  ///< [m, k], m at most 16, rows stride_a apart
  long stride_a;
  const bfloat16* b;  ///< [n, k], rows stride_b apart
  long stride_b;
  float* c;  ///< [m, n], rows stride_c apart
  long stride_c;
  bool accumulate;

  /// C = or += A B^T
  void run() const {
    for (long from = 0; from < k; from += stretch) {
      AmxFewRows part = *this;
      part.k = std::min(stretch, k - from);
      part.a += from;
      part.b += from;
      part.accumulate = accumulate || from > 0;
      part.add_stretch();
    }
  }

 private:
  static constexpr long unit = 2 * lines;  // rows of B at a time
  static constexpr long stretch = 2048;    // of k: what is packed of A stays near

  void add_stretch() const {
    struct Packed;
    auto* const packed = scratch<Packed, bfloat16>(static_cast<std::size_t>(steps(k) * step<3>));
    pack_panel(a, stride_a, true, true, m, k, packed);
    parallel_for((n + unit - 1) / unit, unit * m * k, [&](long first, long last) {
      const AmxRegisters registers;
      for (long j = first * unit; j < std::min(last * unit, n); j += unit) add_unit(packed, j);
    });
  }

  // Registers: sums 0 and 1, B 4 and 5, A 6.
  void add_unit(const bfloat16* packed, long j) const {
    const long present = std::min(unit, n - j);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler does not know what loads of registers read
    _tile_zero(0);
    _tile_zero(1);
    for (long l = 0; l < k; l += deep, packed += step<3>) {
      load_rows(b + j * stride_b + l, present, std::min(deep, k - l));
      ask_for_rows(j, l);
      for (int part = 2; part >= 0; --part) {  // small products first
        _tile_loadd(6, packed + part * step<1>, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
      }
    }
    alignas(64) float sums[2][lines * lines];
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    for (long half = 0; half < 2; ++half) {
      transpose(sums[half]);
      write_sums(sums[half], m, std::clamp(present - half * lines, 0L, lines), c + j + half * lines, stride_c,
                 accumulate);
    }
  }

  void load_rows(const bfloat16* rows, long present, long left) const {
    if (present == unit && left == deep) {
      _tile_loadd(4, rows, stride_b * 2);
      _tile_loadd(5, rows + lines * stride_b, stride_b * 2);
      return;
    }
    alignas(64) bfloat16 padded[2 * in_register];
    for (long half = 0; half < 2; ++half)
      read_lines(rows + half * lines * stride_b, stride_b, std::clamp(present - half * lines, 0L, lines), left,
                 padded + half * in_register);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    _tile_loadd(4, padded, 64);
    _tile_loadd(5, padded + in_register, 64);
  }

  /// Asks early for what comes: of these rows, at their end of the next ones.
  void ask_for_rows(long j, long l) const {
    constexpr long early = 16 * deep;
    const bfloat16* const next = b + (l + early < k ? j * stride_b + l + early : (j + unit) * stride_b + l + early - k);
    for (long i = 0; i < unit; ++i) __builtin_prefetch(next + i * stride_b, 0, 2);
  }
};

}  // namespace linden::detail

#endif
