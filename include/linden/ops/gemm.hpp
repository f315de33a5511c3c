#pragma once
/// \file
/// The matrix product kernels are built from: C = op(A) op(B) or C += op(A) op(B), row-major with row strides, op either
/// nothing or a transpose. Eigen's packed kernel does the arithmetic, one thread per piece of C; the pieces depend on
/// the sizes alone, so the bits do not depend on the number of threads. Nothing is allocated after the first call.
/// Source  Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication" (what Eigen implements).

#include <Eigen/Core>
#include <algorithm>
#include <linden/core/parallel.hpp>
#include <linden/core/scratch.hpp>

namespace linden {

/// One factor of a product: `data` has the given row stride; `transposed` means it is used as its transpose.
template <class T>
struct Factor {
  const T* data;
  long stride;
  bool transposed = false;

  /// The factor from row (or, transposed, column) `first` on.
  [[nodiscard]] Factor skip_rows(long first) const {
    return {data + (transposed ? first : first * stride), stride, transposed};
  }
  [[nodiscard]] Factor skip_columns(long first) const {
    return {data + (transposed ? first * stride : first), stride, transposed};
  }
};

namespace detail {

/// Eigen's cache blocking, with packing memory that the thread keeps.
template <class T>
class GemmBlocking : public Eigen::internal::level3_blocking<T, T> {
 public:
  GemmBlocking(long m, long n, long k) {
    Eigen::Index kc = k, mc = m, nc = n;
    Eigen::internal::computeProductBlockingSizes<T, T, 1>(kc, mc, nc, Eigen::Index(1));
    this->m_kc = kc;
    this->m_mc = mc;
    this->m_nc = nc;
    struct PackedA;
    struct PackedB;
    this->m_blockA = scratch<PackedA, T>(static_cast<std::size_t>(mc * kc));
    this->m_blockB = scratch<PackedB, T>(static_cast<std::size_t>(kc * nc));
  }
};

/// Column-major C' [n, m] += B' A', which is row-major C [m, n] += A B.
template <class T, int OrderB, int OrderA>
void gemm_piece_ordered(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c) {
  using Product = Eigen::internal::general_matrix_matrix_product<Eigen::Index, T, OrderB, false, T, OrderA, false,
                                                                 Eigen::ColMajor, 1>;
  GemmBlocking<T> blocking(n, m, k);
  Product::run(n, m, k, b.data, b.stride, a.data, a.stride, c, 1, stride_c, T(1), blocking, nullptr);
}

/// C [m, n] = or += op(A) op(B) on the calling thread.
template <class T>
[[gnu::noinline]] void gemm_piece(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  if (!accumulate)
    for (long i = 0; i < m; ++i) std::fill_n(c + i * stride_c, n, T(0));
  if (k == 0) return;
  constexpr int rows_first = Eigen::RowMajor, columns_first = Eigen::ColMajor;
  if (b.transposed)
    a.transposed ? gemm_piece_ordered<T, rows_first, rows_first>(m, n, k, a, b, c, stride_c)
                 : gemm_piece_ordered<T, rows_first, columns_first>(m, n, k, a, b, c, stride_c);
  else
    a.transposed ? gemm_piece_ordered<T, columns_first, rows_first>(m, n, k, a, b, c, stride_c)
                 : gemm_piece_ordered<T, columns_first, columns_first>(m, n, k, a, b, c, stride_c);
}

}  // namespace detail

/// C [m, n] = op(A) [m, k] op(B) [k, n], or C += when `accumulate`.
template <class T>
void gemm(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  // Each piece packs the factor they share again, so it must have enough rows (or columns) to pay for that.
  constexpr long piece_work = 1L << 21, unit = 48, units_per_piece = 3;  // multiply-adds; rows of a register tile
  const long work = m * n * std::max(k, 1L);
  const bool by_rows = m >= n;
  const long units = ((by_rows ? m : n) + unit - 1) / unit;
  const long pieces = std::clamp(std::min(work / piece_work, units / units_per_piece), 1L, 32L);
  LINDEN_OMP(omp parallel for schedule(static) if (pieces > 1))
  for (long piece = 0; piece < pieces; ++piece) {
    const long first = units * piece / pieces * unit;
    const long last = std::min(units * (piece + 1) / pieces * unit, by_rows ? m : n);
    if (by_rows)
      detail::gemm_piece(last - first, n, k, a.skip_rows(first), b, c + first * stride_c, stride_c, accumulate);
    else
      detail::gemm_piece(m, last - first, k, a, b.skip_columns(first), c + first, stride_c, accumulate);
  }
}

}  // namespace linden
