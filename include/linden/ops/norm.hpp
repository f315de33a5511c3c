#pragma once
/// \file
/// RMSNorm and softmax, row by row.
/// Shapes  rms_norm(x [M, N], w [N], eps) -> [M, N] with y = x / sqrt(mean(x^2) + eps) * w. softmax(x [M, N]) -> [M, N].
/// Source  Zhang & Sennrich 2019, arXiv:1910.07467; eps sits inside the root as in Llama.

#include <array>
#include <linden/core/scratch.hpp>
#include <linden/ops/packet.hpp>
#include <linden/ops/reduce.hpp>

namespace linden {

namespace detail {
/// 1 / sqrt(mean(x^2) + eps) of one row.
template <class T>
T inverse_rms(const T* x, long n, double epsilon) {
  return T(1) / std::sqrt(math::dot(x, x, n) / static_cast<T>(n) + static_cast<T>(epsilon));
}

/// out = exp(x - highest), n > 0 elements, out may be x; returns {highest, sum of out}.
template <class T>
std::array<T, 2> exponentials(const T* x, long n, T* out) {
  const T highest = math::max(x, n);
  const auto most = Eigen::internal::pset1<Packet<T>>(highest);
  long j = 0;
  for (; j + packet_size<T> <= n; j += packet_size<T>)
    Eigen::internal::pstoreu(out + j, exp_packet<T>(Eigen::internal::psub(load_packet<T>(x + j), most)));
  for (; j < n; ++j) out[j] = math::exp(x[j] - highest);
  return {highest, math::sum(out, n)};
}
}  // namespace detail

/// Results: dx and dw, from x, w and dy. attributes: {eps}.
/// With s = 1/rms(x), u = x s: dx = s (dy w - u mean(dy w u)), dw = sum over rows of dy u.
struct RmsNormBackward {
  static constexpr const char* name = "rms_norm_backward";
  static constexpr int arity = 3;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &w = call.inputs[1], &dy = call.inputs[2];
    const Operand<T>&dx = call.results[0], &dw = call.results[1];
    const long n = x.columns;
    const long pieces = std::clamp(x.rows / 8, 1L, 16L);  // each sums its own dw; they are added in order
    struct Partial;
    T* const partial = dw.data == nullptr ? nullptr : scratch<Partial, T>(static_cast<std::size_t>(pieces * n));
    LINDEN_OMP(omp parallel for schedule(static) if (x.rows * n > parallel_threshold))
    for (long piece = 0; piece < pieces; ++piece) {
      T* const sums = partial == nullptr ? nullptr : partial + piece * n;
      if (sums != nullptr) std::fill_n(sums, n, T(0));
      for (long i = x.rows * piece / pieces; i < x.rows * (piece + 1) / pieces; ++i)
        one_row(x.row(i), w.data, dy.row(i), dx.data == nullptr ? nullptr : dx.row(i), sums, n, call.attributes[0]);
    }
    if (partial == nullptr) return;
    std::fill_n(dw.data, n, T(0));
    for (long piece = 0; piece < pieces; ++piece)
      for (long j = 0; j < n; ++j) dw.data[j] += partial[piece * n + j];
  }

 private:
  template <class T>
  static void one_row(const T* x, const T* w, const T* dy, T* dx, T* dw, long n, double epsilon) {
    const T s = detail::inverse_rms(x, n, epsilon);
    if (dw != nullptr) {
      LINDEN_INDEPENDENT
      for (long j = 0; j < n; ++j) dw[j] += dy[j] * x[j] * s;
    }
    if (dx == nullptr) return;
    const auto plus = [](T a, T b) { return a + b; };
    const T total = math::reduce(n, T(0), plus, [=](long j) { return dy[j] * w[j] * x[j]; });
    const T along = total * s * s / static_cast<T>(n);
    LINDEN_INDEPENDENT
    for (long c = 0; c < n; ++c) dx[c] = s * (dy[c] * w[c] - x[c] * along);
  }
};

/// attributes: {eps}.
struct RmsNorm {
  static constexpr const char* name = "rms_norm";
  static constexpr int arity = 2;
  static constexpr bool cheap = true;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &w = call.inputs[1], &y = call.results[0];
    parallel_for(x.rows, 4 * x.columns, [&](long first, long last) {
      for (long i = first; i < last; ++i) {
        const T* in = x.row(i);
        T* out = y.row(i);
        const T s = detail::inverse_rms(in, x.columns, call.attributes[0]);
        LINDEN_INDEPENDENT
        for (long j = 0; j < x.columns; ++j) out[j] = in[j] * s * w.data[j];
      }
    });
  }
  static constexpr void vjp(Vjp& v) {
    const Value x = v.input(0), w = v.input(1);
    const Node& n = symbolic::node(x);
    const Value dx =
        symbolic::apply<RmsNormBackward>(n.rows, n.columns, {v.attribute(0)}, x, w, v.upstream());
    v.gradient(0, dx);
    if (v.wants(1)) v.gradient(1, symbolic::result(dx, 1, 1, symbolic::node(w).columns));
  }
};

/// Of every row: e^x[j] / sum of e^x.
struct Softmax {
  static constexpr const char* name = "softmax";
  static constexpr int arity = 1;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    if (x.columns == 0) return;
    parallel_for(x.rows, 16 * x.columns, [&](long first, long last) {
      for (long i = first; i < last; ++i) {
        T* out = y.row(i);
        const T total = detail::exponentials(x.row(i), x.columns, out)[1];
        for (long j = 0; j < x.columns; ++j) out[j] /= total;
      }
    });
  }
  /// dx = y (g - sum over the row of g y).
  static constexpr void vjp(Vjp& v) {
    const Value y = v.output(), gy = symbolic::hadamard(v.upstream(), y);
    const Value along = symbolic::sum_to_shape(gy, symbolic::node(y).rows, 1);
    v.gradient(0, symbolic::subtract(gy, symbolic::hadamard(y, along)));
  }
};

/// Every row over its root mean square, times w: [M, N], [N] -> [M, N]. epsilon is added to the mean of squares.
template <long M, long N, long K>
constexpr Expr<Shape<M, N>> rms_norm(Expr<Shape<M, N>> x, Expr<Shape<K>> w, double epsilon) {
  static_assert(N == K, "linden::rms_norm(x, w, eps): w must have as many elements as x has columns");
  return Expr<Shape<M, N>>(symbolic::apply<RmsNorm>(M, N, {epsilon}, x, w));
}

/// Of every row: e^x[j] / sum of e^x, [M, N] -> [M, N].
template <long M, long N>
constexpr Expr<Shape<M, N>> softmax(Expr<Shape<M, N>> x) {
  return Expr<Shape<M, N>>(symbolic::apply<Softmax>(M, N, {}, x));
}

}  // namespace linden
