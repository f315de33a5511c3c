#pragma once
/// \file
/// The matrix product kernels are built from: C = op(A) op(B) or C += op(A) op(B), row-major with row strides, op either
/// nothing or a transpose. B may be stored as bfloat16; it is widened while it is packed, or in registers where A has few rows.
/// Eigen's packing and register kernel do the arithmetic, one thread per piece of C; the pieces depend on the sizes alone, so
/// the bits do not depend on the number of threads. Nothing is allocated after the first call.
/// Source  Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication".

#include <Eigen/Core>
#include <algorithm>
#include <linden/core/element.hpp>
#include <linden/core/parallel.hpp>
#include <linden/core/scratch.hpp>
#include <linden/ops/few_rows.hpp>

namespace linden {

/// One factor of a product: rows `stride` apart, in `data` or (second factors only) in `half`; `transposed` means it is used
/// as its transpose.
template <class T>
struct Factor {
  const T* data;
  long stride;
  bool transposed = false;
  const bfloat16* half = nullptr;  ///< set instead of data where the elements are stored as bfloat16

  /// The factor from row (or, transposed, column) `first` on.
  [[nodiscard]] Factor skip_rows(long first) const { return skip(transposed ? first : first * stride); }
  [[nodiscard]] Factor skip_columns(long first) const { return skip(transposed ? first * stride : first); }

 private:
  [[nodiscard]] Factor skip(long elements) const {
    Factor rest = *this;
    if (half != nullptr)
      rest.half += elements;
    else
      rest.data += elements;
    return rest;
  }
};

namespace detail {

/// What Eigen's packing reads a bfloat16 matrix through.
template <class T, int Order>
class WideningMapper {
 public:
  using LinearMapper = WideningMapper;  // Eigen asks for the name and does not use it
  WideningMapper(const bfloat16* data, Eigen::Index stride) : data_(data), stride_(stride) {}

  [[nodiscard]] WideningMapper getSubMapper(Eigen::Index i, Eigen::Index j) const { return {at(i, j), stride_}; }
  T operator()(Eigen::Index i, Eigen::Index j) const { return static_cast<T>(float(*at(i, j))); }
  template <class Packet>
  [[nodiscard]] Packet loadPacket(Eigen::Index i, Eigen::Index j) const {
    constexpr int size = Eigen::internal::unpacket_traits<Packet>::size;
    alignas(64) T values[static_cast<std::size_t>(size)];
    const bfloat16* const from = at(i, j);
    for (int k = 0; k < size; ++k) values[k] = static_cast<T>(float(from[k]));
    return Eigen::internal::pload<Packet>(values);
  }

 private:
  [[nodiscard]] const bfloat16* at(Eigen::Index i, Eigen::Index j) const {
    return data_ + (Order == Eigen::RowMajor ? i * stride_ + j : i + j * stride_);
  }
  const bfloat16* data_;
  Eigen::Index stride_;
};

struct PackedLeft;
struct PackedRight;

/// Column-major C' [n, m] += B' A', which is row-major C [m, n] += A B; B' is read through `left`, A' has OrderA.
template <class T, int OrderB, int OrderA, class Left>
void gemm_blocks(long m, long n, long k, const Left& left, const T* a, long stride_a, T* c, long stride_c) {
  namespace internal = Eigen::internal;
  using Index = Eigen::Index;
  using Traits = internal::gebp_traits<T, T>;
  using Right = internal::const_blas_data_mapper<T, Index, OrderA>;
  using Result = internal::blas_data_mapper<T, Index, Eigen::ColMajor, Eigen::Unaligned, 1>;
  internal::gemm_pack_lhs<T, Index, Left, Traits::mr, Traits::LhsProgress, typename Traits::LhsPacket4Packing, OrderB>
      pack_left;
  internal::gemm_pack_rhs<T, Index, Right, Traits::nr, OrderA> pack_right;
  internal::gebp_kernel<T, T, Index, Result, Traits::mr, Traits::nr, false, false> multiply;

  Index kc = k, mc = n, nc = m;
  internal::computeProductBlockingSizes<T, T, 1>(kc, mc, nc, Index(1));
  T* const packed_left = scratch<PackedLeft, T>(static_cast<std::size_t>(mc * kc));
  T* const packed_right = scratch<PackedRight, T>(static_cast<std::size_t>(kc * nc));
  const Right right(a, stride_a);
  const Result result(c, stride_c);
  const bool pack_right_once = mc != n && kc == k && nc == m;
  for (Index i = 0; i < n; i += mc)
    for (Index p = 0; p < k; p += kc) {
      const Index rows = std::min(mc, n - i), depth = std::min(kc, k - p);
      pack_left(packed_left, left.getSubMapper(i, p), depth, rows);
      for (Index j = 0; j < m; j += nc) {
        const Index columns = std::min(nc, m - j);
        if (!pack_right_once || i == 0) pack_right(packed_right, right.getSubMapper(p, j), depth, columns);
        multiply(result.getSubMapper(i, j), packed_left, packed_right, rows, depth, columns, T(1));
      }
    }
}

template <class T, int OrderB, int OrderA>
void gemm_ordered(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c) {
  if (b.half != nullptr)
    gemm_blocks<T, OrderB, OrderA>(m, n, k, WideningMapper<T, OrderB>(b.half, b.stride), a.data, a.stride, c, stride_c);
  else
    gemm_blocks<T, OrderB, OrderA>(m, n, k, Eigen::internal::const_blas_data_mapper<T, Eigen::Index, OrderB>(b.data, b.stride),
                                   a.data, a.stride, c, stride_c);
}

/// C [m, n] = or += op(A) op(B) on the calling thread.
template <class T>
[[gnu::noinline]] void gemm_piece(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride_c, bool accumulate) {
  if (!accumulate)
    for (long i = 0; i < m; ++i) std::fill_n(c + i * stride_c, n, T(0));
  if (k == 0) return;
  constexpr int rows_first = Eigen::RowMajor, columns_first = Eigen::ColMajor;
  if (b.transposed)
    a.transposed ? gemm_ordered<T, rows_first, rows_first>(m, n, k, a, b, c, stride_c)
                 : gemm_ordered<T, rows_first, columns_first>(m, n, k, a, b, c, stride_c);
  else
    a.transposed ? gemm_ordered<T, columns_first, rows_first>(m, n, k, a, b, c, stride_c)
                 : gemm_ordered<T, columns_first, columns_first>(m, n, k, a, b, c, stride_c);
}

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
