#pragma once
/// \file
/// Products with few rows on the left, as in generation: C [m, n] = or += A [m, k] op(B), k at least 1. Every element
/// of B is read once and widened in registers, nothing is packed: the speed is that of reading B. B may be stored as
/// bfloat16. Order each element of C is a sum over k in an order that depends on the sizes alone; threads own columns
/// of C.

#include <algorithm>
#include <linden/core/parallel.hpp>
#include <linden/ops/packet.hpp>
#include <type_traits>
#include <utility>

namespace linden::detail {

/// C [M, count] = or += A B^T for count <= Q rows of B: dot products. Rows beyond the last are read as the last.
template <int M, int Q, class T, class E>
void dot_rows(long k, const T* a, long stride_a, const E* b, long stride_b, long count, T* c, long stride_c,
              bool accumulate) {
  constexpr long ahead = 512;  // elements of each row asked for early: at its end, those of the next rows
  const E* rows[Q];
  Packet<T> sum[M][Q];
  for (int q = 0; q < Q; ++q) rows[q] = b + std::min<long>(q, count - 1) * stride_b;
  for (int i = 0; i < M; ++i)
    for (int q = 0; q < Q; ++q) sum[i][q] = Eigen::internal::pset1<Packet<T>>(T(0));
  long l = 0;
  for (; l + packet_size<T> <= k; l += packet_size<T>) {
    const long early = l + ahead < k ? l + ahead : l + ahead - k + Q * stride_b;
    for (int q = 0; q < Q; ++q) __builtin_prefetch(rows[q] + early, 0, 2);
    if constexpr (M < Q) {  // the fewer stay in registers
      Packet<T> y[M];
      for (int i = 0; i < M; ++i) y[i] = load_packet<T>(a + i * stride_a + l), keep_in_register(y[i]);
      for (int q = 0; q < Q; ++q) {
        const Packet<T> x = load_packet<T>(rows[q] + l);
        for (int i = 0; i < M; ++i) sum[i][q] = Eigen::internal::pmadd(y[i], x, sum[i][q]);
      }
    } else {
      Packet<T> x[Q];
      for (int q = 0; q < Q; ++q) x[q] = load_packet<T>(rows[q] + l), keep_in_register(x[q]);
      for (int i = 0; i < M; ++i) {
        const Packet<T> y = load_packet<T>(a + i * stride_a + l);
        for (int q = 0; q < Q; ++q) sum[i][q] = Eigen::internal::pmadd(y, x[q], sum[i][q]);
      }
    }
  }
  for (int i = 0; i < M; ++i)
    for (int q = 0; q < Q && q < count; ++q) {
      T total = Eigen::internal::predux(sum[i][q]);
      for (long r = l; r < k; ++r) total += a[i * stride_a + r] * static_cast<T>(rows[q][r]);
      T& to = c[i * stride_c + q];
      to = accumulate ? to + total : total;
    }
}

/// C [M, 2 packets] = or += A B for some columns of B: multiples of rows.
template <int M, class T, class E>
void add_rows(long k, const T* a, long stride_a, const E* b, long stride_b, T* c, long stride_c, bool accumulate) {
  constexpr long P = packet_size<T>;
  Packet<T> sum[M][2];
  for (int i = 0; i < M; ++i)
    for (int q = 0; q < 2; ++q)
      sum[i][q] = accumulate ? load_packet<T>(c + i * stride_c + q * P) : Eigen::internal::pset1<Packet<T>>(T(0));
  for (long l = 0; l < k; ++l) {
    const Packet<T> x0 = load_packet<T>(b + l * stride_b), x1 = load_packet<T>(b + l * stride_b + P);
    for (int i = 0; i < M; ++i) {
      const Packet<T> y = Eigen::internal::pset1<Packet<T>>(a[i * stride_a + l]);
      sum[i][0] = Eigen::internal::pmadd(y, x0, sum[i][0]);
      sum[i][1] = Eigen::internal::pmadd(y, x1, sum[i][1]);
    }
  }
  for (int i = 0; i < M; ++i)
    for (int q = 0; q < 2; ++q) Eigen::internal::pstoreu(c + i * stride_c + q * P, sum[i][q]);
}

/// Calls body.operator()<rows>(first row) for blocks of at most `Most` rows that cover m. Nine: the ranks 1, 2, 4 ... 256.
template <int Most, class Body>
void for_row_blocks(long m, Body&& body) {
  long i = 0;
  const auto blocks_of = [&]<int M>(std::integral_constant<int, M>) {
    if constexpr (M <= Most)
      for (; i + M <= m; i += M) body.template operator()<M>(i);
  };
  const auto all = [&]<int... M>(std::integer_sequence<int, M...>) { (blocks_of(std::integral_constant<int, M>{}), ...); };
  if constexpr (Most == 9)
    all(std::integer_sequence<int, 9, 8, 4, 2, 1>{});
  else
    all(std::integer_sequence<int, 6, 3, 2, 1>{});
}
inline constexpr bool many_sums = sum_registers >= 24;

/// C = or += A B^T, B [n, k]. A unit of rows of B stays in the cache while every block of rows of A meets it.
template <class T, class E>
void few_rows_transposed(long m, long n, long k, const T* a, long stride_a, const E* b, long stride_b, T* c,
                         long stride_c, bool accumulate) {
  constexpr long unit = 12;  // a multiple of every Q
  parallel_for((n + unit - 1) / unit, unit * m * k, [&](long first, long last) {
    for (long begin = first * unit; begin < std::min(last * unit, n); begin += unit)
      for_row_blocks<many_sums ? 9 : 3>(m, [&]<int M>(long i) {
        constexpr int Q = std::clamp(sum_registers / M, 1, 4);
        for (long j = begin; j < std::min(begin + unit, n); j += Q)
          dot_rows<M, Q, T>(k, a + i * stride_a, stride_a, b + j * stride_b, stride_b, n - j, c + i * stride_c + j,
                            stride_c, accumulate);
      });
  });
}

/// One row of C = or += A B for fewer columns than add_rows takes.
template <class T, class E>
void add_columns(long n, long k, const T* a, const E* b, long stride_b, T* c, bool accumulate) {
  if (!accumulate) std::fill_n(c, n, T(0));
  for (long l = 0; l < k; ++l)
    for (long j = 0; j < n; ++j) c[j] += a[l] * static_cast<T>(b[l * stride_b + j]);
}

/// C = or += A B, B [k, n]. Some rows of B at a time, along the columns: so that memory is read in a few long streams.
template <class T, class E>
void few_rows_plain(long m, long n, long k, const T* a, long stride_a, const E* b, long stride_b, T* c, long stride_c,
                    bool accumulate) {
  constexpr long width = 2 * packet_size<T>, streams = 16;
  const long panel = std::clamp(n / 4 / width, 1L, 512 / width) * width;  // long, yet several even of a narrow B
  parallel_for((n + panel - 1) / panel, panel * m * k, [&](long first, long last) {
    const long end = std::min(last * panel, n), whole = end / width * width;
    for (long done = 0; done < k; done += streams)
      for (long j = first * panel; j < whole; j += width)
        for_row_blocks<many_sums ? 9 : 6>(m, [&]<int M>(long i) {
          add_rows<M, T>(std::min(streams, k - done), a + i * stride_a + done, stride_a, b + done * stride_b + j,
                         stride_b, c + i * stride_c + j, stride_c, accumulate || done > 0);
        });
    for (long i = 0; i < m; ++i)
      add_columns(end - whole, k, a + i * stride_a, b + whole, stride_b, c + i * stride_c + whole, accumulate);
  });
}

}  // namespace linden::detail
