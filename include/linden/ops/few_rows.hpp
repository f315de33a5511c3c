#pragma once
/// \file
/// Products with few rows on the left, as in generation: C [m, n] = or += A [m, k] op(B). Every element of B is read once and
/// widened in registers, nothing is packed: the speed is that of reading B. B may be stored as bfloat16.
/// Order   each element of C is a sum over k in an order that depends on the sizes alone; threads own columns of C.

#include <Eigen/Core>
#include <algorithm>
#include <linden/core/element.hpp>
#include <linden/core/parallel.hpp>

namespace linden::detail {

template <class T>
using Packet = typename Eigen::internal::packet_traits<T>::type;
template <class T>
inline constexpr long packet_size = Eigen::internal::packet_traits<T>::size;

template <class T>
[[gnu::always_inline]] inline Packet<T> load_packet(const T* from) {
  return Eigen::internal::ploadu<Packet<T>>(from);
}
template <class T>
[[gnu::always_inline]] inline Packet<T> load_packet(const bfloat16* from) {
  alignas(64) T values[static_cast<std::size_t>(packet_size<T>)];
  for (long lane = 0; lane < packet_size<T>; ++lane) values[lane] = static_cast<T>(float(from[lane]));
  return Eigen::internal::pload<Packet<T>>(values);
}

/// C [M, columns of a pair] = A B^T for two rows of B: dot products.
template <int M, class T, class E>
void dot_rows(long k, const T* a, long stride_a, const E* b0, const E* b1, T* c, long stride_c, bool two, bool accumulate) {
  Packet<T> sum0[M], sum1[M];
  for (int i = 0; i < M; ++i) sum0[i] = sum1[i] = Eigen::internal::pset1<Packet<T>>(T(0));
  long l = 0;
  for (; l + packet_size<T> <= k; l += packet_size<T>) {
    const Packet<T> x0 = load_packet<T>(b0 + l), x1 = load_packet<T>(b1 + l);
    for (int i = 0; i < M; ++i) {
      const Packet<T> y = load_packet<T>(a + i * stride_a + l);
      sum0[i] = Eigen::internal::pmadd(y, x0, sum0[i]);
      sum1[i] = Eigen::internal::pmadd(y, x1, sum1[i]);
    }
  }
  for (int i = 0; i < M; ++i) {
    T first = Eigen::internal::predux(sum0[i]), second = Eigen::internal::predux(sum1[i]);
    for (long r = l; r < k; ++r) {
      first += a[i * stride_a + r] * static_cast<T>(b0[r]);
      second += a[i * stride_a + r] * static_cast<T>(b1[r]);
    }
    T* const to = c + i * stride_c;
    to[0] = accumulate ? to[0] + first : first;
    if (two) to[1] = accumulate ? to[1] + second : second;
  }
}

/// C [M, 2 packets] = A B for some columns of B: multiples of rows.
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

/// Calls body.operator()<rows>(first row) for blocks of 8, 4, 2 and 1 rows that cover m.
template <class Body>
void for_row_blocks(long m, Body&& body) {
  long i = 0;
  for (; i + 8 <= m; i += 8) body.template operator()<8>(i);
  if (i + 4 <= m) body.template operator()<4>(i), i += 4;
  if (i + 2 <= m) body.template operator()<2>(i), i += 2;
  if (i < m) body.template operator()<1>(i);
}

/// C = or += A B^T, B [n, k].
template <class T, class E>
void few_rows_transposed(long m, long n, long k, const T* a, long stride_a, const E* b, long stride_b, T* c, long stride_c,
                         bool accumulate) {
  parallel_for((n + 1) / 2, 2 * m * k, [&](long first, long last) {
    for (long pair = first; pair < last; ++pair) {
      const long j = 2 * pair;
      const bool two = j + 1 < n;
      const E* const b0 = b + j * stride_b;
      for_row_blocks(m, [&]<int M>(long i) {
        dot_rows<M, T>(k, a + i * stride_a, stride_a, b0, two ? b0 + stride_b : b0, c + i * stride_c + j, stride_c, two, accumulate);
      });
    }
  });
}

/// C = or += A B, B [k, n].
template <class T, class E>
void few_rows_plain(long m, long n, long k, const T* a, long stride_a, const E* b, long stride_b, T* c, long stride_c,
                    bool accumulate) {
  constexpr long width = 2 * packet_size<T>;
  const long blocks = n / width;
  parallel_for(blocks + 1, width * m * k, [&](long first, long last) {
    for (long block = first; block < std::min(last, blocks); ++block)
      for_row_blocks(m, [&]<int M>(long i) {
        add_rows<M, T>(k, a + i * stride_a, stride_a, b + block * width, stride_b, c + i * stride_c + block * width, stride_c,
                       accumulate);
      });
    if (last <= blocks) return;
    for (long i = 0; i < m; ++i)  // the columns that fill no block
      for (long j = blocks * width; j < n; ++j) {
        T sum = accumulate ? c[i * stride_c + j] : T(0);
        for (long l = 0; l < k; ++l) sum += a[i * stride_a + l] * static_cast<T>(b[l * stride_b + j]);
        c[i * stride_c + j] = sum;
      }
  });
}

}  // namespace linden::detail
