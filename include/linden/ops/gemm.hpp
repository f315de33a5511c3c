#pragma once
/// \file
/// The matrix product kernels are built from: C = op(A) op(B) or C += op(A) op(B), row-major with row strides, op
/// either nothing or a transpose. B may be stored as bfloat16; the processor's matrix unit multiplies it as it is where
/// there is one (amx.hpp), otherwise it is widened while it is packed, or in registers where A has few rows. The
/// stretches of k and the pieces for threads depend on the sizes alone, so the bits do not depend on the number of
/// threads; they do depend on the kind of processor. Nothing is allocated after the first call.
/// Source  Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication".

#include <algorithm>
#include <linden/core/element.hpp>
#include <linden/core/parallel.hpp>
#include <linden/core/scratch.hpp>
#include <linden/ops/amx_few_rows.hpp>
#include <linden/ops/amx_tile.hpp>
#include <linden/ops/few_rows.hpp>
#include <linden/ops/gemm_tile.hpp>
#include <type_traits>
#include <utility>

namespace linden {

namespace detail {

/// Calls body(first, last) for pieces of `count` panels: enough for many threads, none too small to be worth waking
/// one. `work` is that of all, in multiply-adds.
template <class Body>
void for_panels(long count, long work, Body&& body) {
  const long pieces = std::clamp(std::min(work >> 20, count), 1L, 64L);
  if (pieces == 1) return body(0L, count);  // a region of one thread would still cost a microsecond
  LINDEN_OMP(omp parallel for schedule(static))
  for (long piece = 0; piece < pieces; ++piece) body(count * piece / pieces, count * (piece + 1) / pieces);
}

/// A product in tiles. One factor is packed for all threads, a stretch of k at a time; each thread packs what it needs
/// of the other and keeps it in its own cache.
template <class T, class Tile>
struct TiledProduct {
  long m, n, k;
  Factor<T> a, b;
  T* c;
  long stride_c;
  bool accumulate;
  long step_c = 1;  ///< between columns of C

  void run() const {
    // Elements of B that stay in the second-level cache: there each row of A meets them.
    constexpr long near = 1L << 18;
    if (column_panels() * C * std::min(k, stretch) <= near) return by_stretches(&TiledProduct::by_rows);
    for (long first = 0; first < m; first += Tile::high) {
      TiledProduct part = *this;
      part.m = std::min(Tile::high, m - first);
      part.a = a.from(first, 0);
      part.c = c + first * stride_c;
      part.by_stretches(&TiledProduct::by_columns);
    }
  }

 private:
  using Packed = typename Tile::Packed;
  static constexpr long R = Tile::rows, C = Tile::columns, stretch = Tile::stretch;
  struct PackedRows;
  struct PackedColumns;

  void by_stretches(void (TiledProduct::*add_stretch)(long from, long depth) const) const {
    for (long from = 0; from < k; from += stretch) (this->*add_stretch)(from, std::min(stretch, k - from));
  }

  [[nodiscard]] long row_panels() const { return (m + R - 1) / R; }
  [[nodiscard]] long column_panels() const { return (n + C - 1) / C; }

  /// Where few columns meet A, packing it would cost more than it saves: it is read where it lies.
  [[nodiscard]] bool packs_a() const {
    return !Tile::reads_rows_in_place || column_panels() * C > (a.transposed ? 64 : 256);
  }

  /// Row panels [first, last), one after the other.
  void pack_a(long first, long last, long from, long depth, Packed* to) const {
    pack_panels(last - first, depth, a.transposed, [&](long i, long start, long count) {
      Tile::pack_rows(a.from((first + i) * R, from + start), m - (first + i) * R, count,
                      to + i * Tile::rows_size(depth) + Tile::rows_size(start));
    });
  }
  void pack_b(long first, long last, long from, long depth, Packed* to) const {
    pack_panels(last - first, depth, !b.transposed, [&](long j, long start, long count) {
      Tile::pack_columns(b.from(from + start, (first + j) * C), n - (first + j) * C, count,
                         to + j * Tile::columns_size(depth) + Tile::columns_size(start));
    });
  }
  /// Calls pack(panel, first of k, count). Where the lines of panels are neighbours in memory (`across`), a few rows of
  /// memory at a time for all panels: it is read in long pieces.
  static void pack_panels(long panels, long depth, bool across, const auto& pack) {
    const long piece = across ? 32 : depth;
    for (long start = 0; start < depth; start += piece)
      for (long panel = 0; panel < panels; ++panel) pack(panel, start, std::min(piece, depth - start));
  }

  /// Asks for a part of what the next call of pack_b reads: memory works while tiles are computed.
  void ask_for_b(long first, long last, long from, long depth, long part, long parts) const {
    const long lines = std::min(last * C, n) - first * C;
    const long rows = b.transposed ? lines : depth, length = b.transposed ? depth : lines;
    const auto ask = [&](const auto* elements) {
      for (long r = rows * part / parts; r < rows * (part + 1) / parts; ++r)
        for (long e = 0; e < length; e += 64 / long(sizeof(*elements)))
          __builtin_prefetch(elements + r * b.stride + e, 0, 2);
    };
    const Factor<T> corner = b.from(from, first * C);
    b.half != nullptr ? ask(corner.half) : ask(corner.data);
  }

  /// Adds a stretch to the tile of row panel i and column panel j; `rows` is null where A is read where it lies.
  void add_tile(long i, long j, long from, long depth, const Packed* rows, const Packed* columns) const {
    const TileOfResult<T> to{c + i * R * stride_c + j * C * step_c,
                             stride_c,
                             std::min(R, m - i * R),
                             std::min(C, n - j * C),
                             accumulate || from > 0,
                             step_c};
    if constexpr (Tile::reads_rows_in_place)
      if (rows == nullptr) return Tile::multiply(depth, a.from(i * R, from), columns, to);
    Tile::multiply(depth, rows, columns, to);
  }

  /// B is packed for all, threads take rows: C is written along its rows.
  void by_rows(long from, long depth) const {
    constexpr long group = Tile::group / R;
    const long row_size = Tile::rows_size(depth), column_size = Tile::columns_size(depth);
    auto* const columns = scratch<PackedColumns, Packed>(static_cast<std::size_t>(column_panels() * column_size));
    for_panels(column_panels(), n * depth * 8,
               [&](long first, long last) { pack_b(first, last, from, depth, columns + first * column_size); });
    for_panels(row_panels(), m * n * depth, [&](long first, long last) {
      [[maybe_unused]] const typename Tile::Registers registers;
      auto* const rows = packs_a() ? scratch<PackedRows, Packed>(static_cast<std::size_t>(group * row_size)) : nullptr;
      for (long begin = first; begin < last; begin += group) {
        const long end = std::min(begin + group, last);
        if (rows != nullptr) pack_a(begin, end, from, depth, rows);
        for (long i = begin; i < end; ++i)
          for (long j = 0; j < column_panels(); ++j)
            add_tile(i, j, from, depth, rows == nullptr ? nullptr : rows + (i - begin) * row_size,
                     columns + j * column_size);
      }
    });
  }

  /// A is packed for all, threads take columns: each panel of B meets all of A while it is near.
  void by_columns(long from, long depth) const {
    const long row_size = Tile::rows_size(depth), column_size = Tile::columns_size(depth);
    constexpr long group = (Tile::group + C - 1) / C;
    auto* const rows =
        packs_a() ? scratch<PackedRows, Packed>(static_cast<std::size_t>(row_panels() * row_size)) : nullptr;
    if (rows != nullptr)
      for_panels(row_panels(), m * depth * 8,
                 [&](long first, long last) { pack_a(first, last, from, depth, rows + first * row_size); });
    for_panels(column_panels(), m * n * depth, [&](long first, long last) {
      [[maybe_unused]] const typename Tile::Registers registers;
      auto* const columns = scratch<PackedColumns, Packed>(static_cast<std::size_t>(group * column_size));
      for (long begin = first; begin < last; begin += group) {
        const long end = std::min(begin + group, last);
        pack_b(begin, end, from, depth, columns);
        const long tiles = (end - begin) * row_panels(), next = std::min(end + group, last);
        for (long tile = 0; tile < tiles; ++tile) {
          const long j = tile / row_panels(), i = tile % row_panels();
          if (next > end) ask_for_b(end, next, from, depth, tile, tiles);
          add_tile(i, begin + j, from, depth, rows == nullptr ? nullptr : rows + i * row_size,
                   columns + j * column_size);
        }
      }
    });
  }
};

/// Below so many rows packing B costs more than it saves.
inline constexpr long few_rows = 12;

template <class T>
void gemm_few_rows(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  const auto run = [&](const auto* elements) {
    b.transposed ? few_rows_transposed(m, n, k, a.data, a.stride, elements, b.stride, c, stride_c, accumulate)
                 : few_rows_plain(m, n, k, a.data, a.stride, elements, b.stride, c, stride_c, accumulate);
  };
  b.half != nullptr ? run(b.half) : run(b.data);
}

#ifdef LINDEN_AMX
/// Whether it took the product, of a B stored as bfloat16.
inline bool gemm_on_matrix_unit(long m, long n, long k, const Factor<float>& a, const Factor<float>& b, float* c,
                                long stride_c, bool accumulate) {
  constexpr long least = 6;  // fewer rows wait for memory in any case
  if (m >= least && m <= AmxFewRows::most && b.transposed && !a.transposed)
    AmxFewRows{{}, m, n, k, a.data, a.stride, b.half, b.stride, c, stride_c, accumulate}.run();
  else if (m >= few_rows || a.transposed)
    TiledProduct<float, AmxTile>{m, n, k, a, b, c, stride_c, accumulate}.run();
  else
    return false;
  return true;
}
#endif

}  // namespace detail

/// C [m, n] = op(A) [m, k] op(B) [k, n], or C += when `accumulate`.
template <class T>
void gemm(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (k == 0) {
    for (long i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * stride_c, n, T(0));
    return;
  }
#ifdef LINDEN_AMX
  if constexpr (std::is_same_v<T, float>)
    if (b.half != nullptr && detail::may_use_amx())
      if (detail::gemm_on_matrix_unit(m, n, k, a, b, c, stride_c, accumulate)) return;
#endif
  if (m < detail::few_rows && !a.transposed) return detail::gemm_few_rows(m, n, k, a, b, c, stride_c, accumulate);
  constexpr long narrow = 2 * detail::packet_size<T>, wide = detail::widest_tile * detail::packet_size<T>;
  long step_c = 1;
  const bool few_rows_of_c = m < n && m <= narrow;
  const bool few_columns_of_c = !detail::wide_tiles_for_any_width && m >= 1024 && n > narrow && n <= 2 * wide;
  if (a.transposed && !b.transposed && b.half == nullptr && (few_rows_of_c || few_columns_of_c)) {
    // C^T = B^T A^T: its wide factor is read where it lies, or fills wide tiles.
    std::swap(m, n);
    std::swap(a.data, b.data);
    std::swap(a.stride, b.stride);
    std::swap(stride_c, step_c);
  }
  const bool in_narrow_tiles = n <= narrow || (!detail::wide_tiles_for_any_width && n % wide != 0 && n < 1024);
  if (const long rest = n % wide; !in_narrow_tiles && step_c == 1 && n > wide && rest > 0 && rest <= narrow) {
    // The last columns would fill a part of their tiles only: narrower tiles have them.
    gemm<T>(m, n - rest, k, a, b, c, stride_c, accumulate);
    return gemm<T>(m, rest, k, a, b.from(0, n - rest), c + (n - rest), stride_c, accumulate);
  }
  const auto run = [&]<class Tile>() {
    detail::TiledProduct<T, Tile>{m, n, k, a, b, c, stride_c, accumulate, step_c}.run();
  };
  if (n <= detail::packet_size<T>)
    run.template operator()<detail::FmaTile<T, 1>>();
  else if (in_narrow_tiles)
    run.template operator()<detail::FmaTile<T, 2>>();
  else
    run.template operator()<detail::FmaTile<T, detail::widest_tile>>();
}

}  // namespace linden
