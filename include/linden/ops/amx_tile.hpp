#pragma once
/// \file
/// The tile that products of floats with bfloat16 are built from on a processor's matrix unit (amx.hpp). Loops over
/// panels are in gemm.hpp.

#include <linden/ops/amx.hpp>

#ifdef LINDEN_AMX
#include <atomic>
#include <linden/ops/factor.hpp>

namespace linden::detail {

/// 32 x 32 sums, in four registers; the other four hold two registers of either factor. A line of a panel is a row of A
/// or a column of B. A has three parts, B one.
class AmxTile : AmxPacking {
 public:
  using Packed = bfloat16;
  using Registers = AmxRegisters;
  static constexpr long rows = 32, columns = 32;
  static constexpr long stretch = 512, high = 256;  // what is packed of A stays in half of a second-level cache
  static constexpr long group = 128;
  static constexpr bool reads_rows_in_place = false;
  static constexpr long rows_size(long depth) { return steps(depth) * step<3>; }
  static constexpr long columns_size(long depth) { return steps(depth) * step<1>; }

  static void pack_rows(const Factor<float>& a, long count, long depth, bfloat16* to) {
    pack_panel(a.data, a.stride, !a.transposed, false, count, depth, to);
  }
  static void pack_columns(const Factor<float>& b, long count, long depth, bfloat16* to) {
    pack_panel(b.half, b.stride, b.transposed, true, count, depth, to);
  }

  /// C = or += A B for a packed panel of each.
  static void multiply(long depth, const bfloat16* a, const bfloat16* b, const TileOfResult<float>& c) {
    if (c.rows > lines)
      c.columns > lines ? multiply<2, 2>(steps(depth), a, b, c) : multiply<2, 1>(steps(depth), a, b, c);
    else
      c.columns > lines ? multiply<1, 2>(steps(depth), a, b, c) : multiply<1, 1>(steps(depth), a, b, c);
  }

 private:
  // Registers: sums 0 to 3, A 4 and 5, B 6 and 7.
  template <int I>
  static void load_rows(const bfloat16* a) {
    _tile_loadd(4, a, 64);
    if constexpr (I > 1) _tile_loadd(5, a + in_register, 64);
  }
  template <int J>
  static void load_columns(const bfloat16* b) {
    _tile_loadd(6, b, 64);
    if constexpr (J > 1) _tile_loadd(7, b + in_register, 64);
  }
  template <int I, int J>
  static void add_products() {
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (J > 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (I > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (I > 1 && J > 1) _tile_dpbf16ps(3, 5, 7);
  }

  template <int I, int J>
  static void multiply(long count, const bfloat16* a, const bfloat16* b, const TileOfResult<float>& c) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler does not know what the loads below read
    prefetch(c);
    clear_sums<I, J>();
    for (long s = 0; s < count; ++s, a += step<3>, b += step<1>) {
      load_columns<J>(b);
      for (int part = 2; part >= 0; --part) {  // small products first
        load_rows<I>(a + part * step<1>);
        add_products<I, J>();
      }
    }
    store_sums<I, J>(c);
  }

  /// C is asked for now: it is there when the sums are.
  static void prefetch(const TileOfResult<float>& c) {
    for (long i = 0; i < c.rows; ++i)
      for (long j = 0; j < c.columns; j += lines) __builtin_prefetch(c.data + i * c.stride + j, 1);
  }
  template <int I, int J>
  static void clear_sums() {
    _tile_zero(0);
    if constexpr (J > 1) _tile_zero(1);
    if constexpr (I > 1) _tile_zero(2);
    if constexpr (I > 1 && J > 1) _tile_zero(3);
  }
  template <int I, int J>
  static void store_sums(const TileOfResult<float>& c) {
    store_register(c, 0, 0, [](float* to, long bytes) { _tile_stored(0, to, bytes); });
    if constexpr (J > 1) store_register(c, 0, 1, [](float* to, long bytes) { _tile_stored(1, to, bytes); });
    if constexpr (I > 1) store_register(c, 1, 0, [](float* to, long bytes) { _tile_stored(2, to, bytes); });
    if constexpr (I > 1 && J > 1) store_register(c, 1, 1, [](float* to, long bytes) { _tile_stored(3, to, bytes); });
  }
  /// Register (i, j) of the tile to C, by store(address, bytes between rows).
  static void store_register(const TileOfResult<float>& c, long i, long j, const auto& store) {
    float* to = c.data + i * lines * c.stride + j * lines;
    const long rows_left = std::min(lines, c.rows - i * lines), columns_left = std::min(lines, c.columns - j * lines);
    if (!c.accumulate && rows_left == lines && columns_left == lines) return store(to, c.stride * 4);
    alignas(64) float sums[lines * lines];
    store(sums, lines * 4);
    write_sums(sums, rows_left, columns_left, to, c.stride, c.accumulate);
  }
};

}  // namespace linden::detail

#endif
