#pragma once
/// \file
/// What a large product is built from: a tile of C that is summed in registers, and the panels of A and B it reads,
/// packed in the order it reads them. Loops over panels are in gemm.hpp.

#include <algorithm>
#include <linden/ops/factor.hpp>
#include <linden/ops/packet.hpp>
#include <type_traits>

namespace linden::detail {

/// A panel of A as packed: the elements of a column lie together.
template <class T, long R>
struct PackedPanel {
  const T* data;
  T operator()(long i, long l) const { return data[l * R + i]; }
};

/// A panel of A where it lies. Rows beyond the last are read as the last.
template <class T, long R>
struct RowsPanel {
  const T* row[R];
  RowsPanel(const T* data, long stride, long rows) {
    for (long i = 0; i < R; ++i) row[i] = data + std::min(i, rows - 1) * stride;
  }
  T operator()(long i, long l) const { return row[i][l]; }
};

/// A panel of a transposed A where it lies: a row of memory holds a column of the panel.
template <class T>
struct ColumnsPanel {
  const T* data;
  long stride;
  T operator()(long i, long l) const { return data[l * stride + i]; }
};

/// The same with rows of memory far apart, which are asked for early. Not `Whole`: rows of the panel beyond the last
/// are read as the last.
template <class T, bool Whole>
struct FarColumnsPanel : ColumnsPanel<T> {
  long rows;
  T operator()(long i, long l) const {
    constexpr long ahead = 16;
    if (i == 0) __builtin_prefetch(this->data + (l + ahead) * this->stride);
    return ColumnsPanel<T>::operator()(Whole ? i : std::min(i, rows - 1), l);
  }
};

/// Where a tile of C lies: rows `stride` apart, columns `step`. It may be smaller than a Tile.
template <class T>
struct TileOfResult {
  T* data;
  long stride, rows, columns;
  bool accumulate;
  long step = 1;

  void set(long i, long j, T sum) const {
    T& element = data[i * stride + j * step];
    element = accumulate ? element + sum : sum;
  }
};

/// Elements = or += sum.
template <class T>
[[gnu::always_inline]] inline void add_packet(T* to, Packet<T> sum, bool accumulate) {
  Eigen::internal::pstoreu(to, accumulate ? Eigen::internal::padd(load_packet<T>(to), sum) : sum);
}
/// The same for the first `count` elements; those beyond are neither read nor written.
template <class T>
[[gnu::always_inline]] inline void add_packet(T* to, Packet<T> sum, bool accumulate, long count) {
  constexpr long S = packet_size<T>;
  if (count >= S) return add_packet(to, sum, accumulate);
#ifdef __AVX512F__
  if constexpr (S == 16) {
    const auto mask = static_cast<__mmask16>((1U << count) - 1U);
    return _mm512_mask_storeu_ps(to, mask, accumulate ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum) : sum);
  }
#endif
  alignas(64) T elements[S];
  Eigen::internal::pstore(elements, sum);
  for (long j = 0; j < count; ++j) to[j] = accumulate ? to[j] + elements[j] : elements[j];
}

/// sum = A B in registers: A by a(row, l), B [depth, P packets] in rows `width` apart.
template <int R, int P, class T, class Left>
[[gnu::always_inline]] inline void sum_tile(long depth, const Left& a, const T* b, long width, Packet<T> (&sum)[R][P]) {
  for (int i = 0; i < R; ++i)
    for (int q = 0; q < P; ++q) sum[i][q] = Eigen::internal::pset1<Packet<T>>(T(0));
  for (long l = 0; l < depth; ++l) {
    Packet<T> row[P];
    for (int q = 0; q < P; ++q) {
      row[q] = Eigen::internal::pload<Packet<T>>(b + l * width + q * packet_size<T>);
      keep_in_register(row[q]);
    }
    for (int i = 0; i < R; ++i) {
      const auto factor = Eigen::internal::pset1<Packet<T>>(a(i, l));
      for (int q = 0; q < P; ++q) sum[i][q] = Eigen::internal::pmadd(factor, row[q], sum[i][q]);
    }
  }
}

/// C = or += A B for a panel of A and a packed panel of B, [depth, Tile::columns].
template <class T, class Tile, class Left>
[[gnu::noinline]] void multiply_panels(long depth, const Left& a, const T* b, const TileOfResult<T>& c) {
  constexpr int R = Tile::rows, P = Tile::packets;
  constexpr long S = packet_size<T>;
  if (c.accumulate && c.step == 1)  // asked for now, it is there when the sums are
    for (long i = 0; i < c.rows; ++i)
      for (int q = 0; q < P; ++q) __builtin_prefetch(c.data + i * c.stride + q * S, 1);
  Packet<T> sum[R][P];
  sum_tile(depth, a, b, Tile::columns, sum);

  if (c.step == 1) {
    const bool whole = c.rows == R && c.columns == Tile::columns;
    for (int i = 0; i < R; ++i)
      for (int q = 0; q < P; ++q) {
        T* const to = c.data + i * c.stride + q * S;
        if (whole)
          add_packet(to, sum[i][q], c.accumulate);
        else if (i < c.rows && q * S < c.columns)
          add_packet(to, sum[i][q], c.accumulate, c.columns - q * S);
      }
    return;
  }
  alignas(64) T tile[R][Tile::columns];
  for (int i = 0; i < R; ++i)
    for (int q = 0; q < P; ++q) Eigen::internal::pstore(&tile[i][q * S], sum[i][q]);
  for (long j = 0; j < c.columns; ++j)
    for (long i = 0; i < c.rows; ++i) c.set(i, j, tile[i][j]);
}

/// `W` columns of a matrix [depth, columns], rows `stride` apart, as a panel. Columns beyond `count` become zero.
template <long W, class T, class E>
void pack_columns(const E* columns, long stride, long count, long depth, T* panel) {
  constexpr long S = packet_size<T>, ahead = 16;  // rows lie far apart: the processor does not guess the next one
  const auto next_row = [&] {
    columns += stride, panel += W;
    for (long j = 0; j < W; j += 64 / long(sizeof(E))) __builtin_prefetch(columns + (ahead - 1) * stride + j);
  };
  long l = 0;
  if (count >= W) {
    // In whole packets: what they have too much is overwritten by the rows that follow, which the last ones lack.
    constexpr long last = W % S == 0 ? 0 : (S + W - 1) / W;
    for (; l < depth - last; ++l, next_row())
      for (long j = 0; j < W; j += S) Eigen::internal::pstoreu(panel + j, load_packet<T>(columns + j));
  }
  const long present = std::min(count, W);
  for (; l < depth; ++l, next_row()) {
    std::transform(columns, columns + present, panel, [](E e) { return static_cast<T>(e); });
    std::fill(panel + present, panel + W, T(0));
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as template argument keeps its size
#endif
/// A square of `count` rows, one packet long, becomes a square of columns of a panel `width` wide. Columns beyond `count`
/// become zero.
template <class T, class E>
[[gnu::always_inline]] inline void pack_square(const E* rows, long stride, long count, T* panel, long width) {
  Eigen::internal::PacketBlock<Packet<T>, int(packet_size<T>)> square;
  for (long i = 0; i < packet_size<T>; ++i)
    square.packet[i] = i < count ? load_packet<T>(rows + i * stride) : Eigen::internal::pset1<Packet<T>>(T(0));
  Eigen::internal::ptranspose(square);
  for (long i = 0; i < packet_size<T>; ++i) Eigen::internal::pstoreu(panel + i * width, square.packet[i]);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// `W` rows of a matrix [rows, depth], rows `stride` apart, as the columns of a panel. Those beyond `count` become
/// zero.
template <long W, class T, class E>
void pack_transposed(const E* rows, long stride, long count, long depth, T* panel) {
  constexpr long S = packet_size<T>;
  // Squares as wide as the panel, or wider: what they have too much is overwritten by the next one, which the last lacks.
  constexpr long high = std::min(S, W);
  const long whole_rows = std::min(count, W) / high * high;
  const long whole_depth = std::max(0L, depth - (S + W - 1) / W + 1) / S * S;
  for (long j = 0; j < whole_rows; j += high)
    for (long l = 0; l < whole_depth; l += S)
      pack_square<T>(rows + j * stride + l, stride, high, panel + l * W + j, W);
  for (long j = 0; j < W; ++j)
    for (long l = j < whole_rows ? whole_depth : 0; l < depth; ++l)
      panel[l * W + j] = j < count ? static_cast<T>(rows[j * stride + l]) : T(0);
}

/// A tile of C in registers: at most 12 rows, one address each, of P packets. Of 32 registers 24 hold sums, of 16, 12;
/// the others a row of B and an element of A.
template <class T, int P>
class FmaTile {
 public:
  using Packed = T;
  struct Registers {};  // nothing to set up
  static constexpr int packets = P;
  static constexpr long rows = std::min(12, (sum_registers >= 24 ? 24 : 12) / P);
  static constexpr long columns = P * packet_size<T>;
  static constexpr long stretch = 512;  // of k: long enough to hide reading C, short enough for panels to stay near
  static constexpr long high = 3072;    // rows of A that are packed at once
  static constexpr long group = 48;     // lines packed together: they fill whole cache lines where they are neighbours
  static constexpr bool reads_rows_in_place = true;  // A need not be packed
  static constexpr long rows_size(long depth) { return rows * depth; }
  static constexpr long columns_size(long depth) { return columns * depth; }

  static void pack_rows(const Factor<T>& a, long count, long depth, T* to) {
    a.transposed ? detail::pack_columns<rows>(a.data, a.stride, count, depth, to)
                 : pack_transposed<rows>(a.data, a.stride, count, depth, to);
  }
  static void pack_columns(const Factor<T>& b, long count, long depth, T* to) {
    const auto pack = [&](const auto* elements) {
      b.transposed ? pack_transposed<columns>(elements, b.stride, count, depth, to)
                   : detail::pack_columns<columns>(elements, b.stride, count, depth, to);
    };
    b.half != nullptr ? pack(b.half) : pack(b.data);
  }

  /// C = or += A B for a packed panel of each.
  static void multiply(long depth, const T* a, const T* b, const TileOfResult<T>& c) {
    multiply_panels<T, FmaTile>(depth, PackedPanel<T, rows>{a}, b, c);
  }
  /// The same, A read where it lies.
  static void multiply(long depth, const Factor<T>& a, const T* b, const TileOfResult<T>& c) {
    if (!a.transposed)
      multiply_panels<T, FmaTile>(depth, RowsPanel<T, rows>(a.data, a.stride, c.rows), b, c);
    else if (c.rows == rows)
      multiply_panels<T, FmaTile>(depth, FarColumnsPanel<T, true>{{a.data, a.stride}, c.rows}, b, c);
    else
      multiply_panels<T, FmaTile>(depth, FarColumnsPanel<T, false>{{a.data, a.stride}, c.rows}, b, c);
  }
};
/// Packets in a row of the widest tile: as wide as high, about, so that most is computed from what is read.
inline constexpr int widest_tile = sum_registers >= 24 ? 4 : 3;
/// With 16 registers tiles of 3 packets are only a little better than those of 2, which fit narrow matrices.
inline constexpr bool wide_tiles_for_any_width = sum_registers >= 24;

}  // namespace linden::detail
