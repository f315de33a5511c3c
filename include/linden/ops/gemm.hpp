#pragma once
/// \file
/// The matrix product kernels are built from: C = op(A) op(B) or C += op(A) op(B), row-major with row strides, op
/// either nothing or a transpose. B may be stored as bfloat16; it is widened while it is packed, or in registers where
/// A has few rows. The stretches of k and the pieces for threads depend on the sizes alone, so the bits do not depend
/// on the number of threads. Nothing is allocated after the first call. Source  Goto & van de Geijn 2008, "Anatomy of
/// High-Performance Matrix Multiplication".

#include <algorithm>
#include <linden/core/element.hpp>
#include <linden/core/parallel.hpp>
#include <linden/core/scratch.hpp>
#include <linden/ops/few_rows.hpp>
#include <linden/ops/gemm_tile.hpp>

namespace linden {

/// One factor of a product: rows `stride` apart, in `data` or (second factors only) in `half`; `transposed` means it is
/// used as its transpose.
template <class T>
struct Factor {
  const T* data;
  long stride;
  bool transposed = false;
  const bfloat16* half = nullptr;  ///< set instead of data where the elements are stored as bfloat16

  /// The factor from row (or, transposed, column) `first` on.
  [[nodiscard]] Factor skip_rows(long first) const {
    Factor rest = *this;
    const long elements = transposed ? first : first * stride;
    if (half != nullptr)
      rest.half += elements;
    else
      rest.data += elements;
    return rest;
  }
};

namespace detail {

/// Calls body(first, last) for pieces of `count` panels: enough for many threads, none too small to be worth waking
/// one. `work` is that of all, in multiply-adds.
template <class Body>
void for_panels(long count, long work, Body&& body) {
  const long pieces = std::clamp(std::min(work >> 20, count), 1L, 64L);
  LINDEN_OMP(omp parallel for schedule(static) if (pieces > 1))
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

  void run() const {
    constexpr long near = 1L << 18;  // elements of B that stay in the second-level cache: there each row of A meets them
    constexpr long high = 3072;      // rows of A that are packed at once otherwise
    if (column_panels() * C * std::min(k, stretch) <= near) return by_stretches(&TiledProduct::by_rows);
    for (long first = 0; first < m; first += high) {
      TiledProduct part = *this;
      part.m = std::min(high, m - first);
      part.a = a.skip_rows(first);
      part.c = c + first * stride_c;
      part.by_stretches(&TiledProduct::by_columns);
    }
  }

 private:
  static constexpr long R = Tile::rows, C = Tile::columns;
  static constexpr long stretch = 512;  // of k: long enough to hide reading C, short enough for panels to stay near
  struct PackedRows;
  struct PackedColumns;

  void by_stretches(void (TiledProduct::*add_stretch)(long from, long depth) const) const {
    for (long from = 0; from < k; from += stretch) (this->*add_stretch)(from, std::min(stretch, k - from));
  }

  [[nodiscard]] long row_panels() const { return (m + R - 1) / R; }
  [[nodiscard]] long column_panels() const { return (n + C - 1) / C; }

  /// Where few columns meet A, packing it would cost more than it saves: it is read where it lies.
  [[nodiscard]] bool packs_a() const { return a.transposed || column_panels() > 4; }

  void pack_a(long first, long last, long from, long depth, T* to) const {
    for (long i = first * R; i < std::min(last * R, m); i += R, to += R * depth)
      if (a.transposed)
        pack_columns<R>(a.data + from * a.stride + i, a.stride, m - i, depth, to);
      else
        pack_transposed<R>(a.data + i * a.stride + from, a.stride, m - i, depth, to);
  }

  void pack_panel_of_b(const auto* elements, long j, long from, long depth, T* to) const {
    if (b.transposed)
      pack_transposed<C>(elements + j * b.stride + from, b.stride, n - j, depth, to);
    else
      pack_columns<C>(elements + from * b.stride + j, b.stride, n - j, depth, to);
  }
  void pack_b(long first, long last, long from, long depth, T* to) const {
    for (long j = first * C; j < std::min(last * C, n); j += C, to += C * depth)
      b.half != nullptr ? pack_panel_of_b(b.half, j, from, depth, to) : pack_panel_of_b(b.data, j, from, depth, to);
  }

  /// Adds a stretch to the tile of row panel i and column panel j; `rows` is null where A is read where it lies.
  void add_tile(long i, long j, long from, long depth, const T* rows, const T* columns) const {
    const TileOfResult<T> to{c + i * R * stride_c + j * C, stride_c, std::min(R, m - i * R), std::min(C, n - j * C),
                             accumulate || from > 0};
    if (rows != nullptr)
      multiply_panels<T, Tile>(depth, PackedPanel<T, R>{rows}, columns, to);
    else
      multiply_panels<T, Tile>(depth, RowsPanel<T, R>(a.data + i * R * a.stride + from, a.stride, to.rows), columns,
                               to);
  }

  /// B is packed for all, threads take rows: C is written along its rows.
  void by_rows(long from, long depth) const {
    constexpr long group = 48 / R;  // panels packed together: as rows of a transposed A they fill whole cache lines
    T* const columns = scratch<PackedColumns, T>(static_cast<std::size_t>(column_panels() * C * depth));
    for_panels(column_panels(), n * depth * 8,
               [&](long first, long last) { pack_b(first, last, from, depth, columns + first * C * depth); });
    for_panels(row_panels(), m * n * depth, [&](long first, long last) {
      T* const rows = packs_a() ? scratch<PackedRows, T>(static_cast<std::size_t>(group * R * depth)) : nullptr;
      for (long i = first; i < last; ++i) {
        const long packed = (i - first) % group;
        if (rows != nullptr && packed == 0) pack_a(i, std::min(i + group, last), from, depth, rows);
        for (long j = 0; j < column_panels(); ++j)
          add_tile(i, j, from, depth, rows == nullptr ? nullptr : rows + packed * R * depth, columns + j * C * depth);
      }
    });
  }

  /// A is packed for all, threads take columns: each panel of B meets all of A while it is near.
  void by_columns(long from, long depth) const {
    T* const rows = packs_a() ? scratch<PackedRows, T>(static_cast<std::size_t>(row_panels() * R * depth)) : nullptr;
    if (rows != nullptr)
      for_panels(row_panels(), m * depth * 8,
                 [&](long first, long last) { pack_a(first, last, from, depth, rows + first * R * depth); });
    for_panels(column_panels(), m * n * depth, [&](long first, long last) {
      T* const columns = scratch<PackedColumns, T>(static_cast<std::size_t>(C * depth));
      for (long j = first; j < last; ++j) {
        pack_b(j, j + 1, from, depth, columns);
        for (long i = 0; i < row_panels(); ++i)
          add_tile(i, j, from, depth, rows == nullptr ? nullptr : rows + i * R * depth, columns);
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

}  // namespace detail

/// C [m, n] = op(A) [m, k] op(B) [k, n], or C += when `accumulate`.
template <class T>
void gemm(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (m < detail::few_rows && !a.transposed) return detail::gemm_few_rows(m, n, k, a, b, c, stride_c, accumulate);
  if (k == 0) {
    for (long i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * stride_c, n, T(0));
    return;
  }
  const auto run = [&]<int P>() {
    detail::TiledProduct<T, detail::Tile<T, P>>{m, n, k, a, b, c, stride_c, accumulate}.run();
  };
  if (n <= detail::packet_size<T>)
    run.template operator()<1>();
  else if (n <= 2 * detail::packet_size<T>)
    run.template operator()<2>();
  else
    run.template operator()<detail::widest_tile>();
}

}  // namespace linden
