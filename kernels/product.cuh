#pragma once
/// \file
/// Matrix products on a device: C [m, n] = or += op(A) [m, k] op(B) [k, n], row-major, accumulated in float.
/// Types   A and B of T; C of T, or float (gradients of master copies).

#include <linden/ops/product.hpp>

#include "memory.cuh"
#ifdef __CUDACC__
#include "cublas.cuh"
#endif

namespace linden::cuda {

/// One factor of a product: row-major, `stride` elements from row to row.
template <class T>
struct DeviceFactor {
  const T* data;            ///< as stored
  long stride;              ///< elements from row to row as stored
  bool transposed = false;  ///< used as its transpose
};

/// C = or += op(A) op(B). An empty inner extent gives zeros.
template <class T, class C>
void gemm(long m, long n, long k, DeviceFactor<T> a, DeviceFactor<T> b, C* c, long stride_c, bool accumulate, const Queue& queue) {
  static_assert(std::is_same_v<C, T> || std::is_same_v<C, float>);
  if (m == 0 || n == 0 || (k == 0 && accumulate)) return;
  if (k == 0) {
    const auto row = static_cast<std::size_t>(stride_c) * sizeof(C), width = static_cast<std::size_t>(n) * sizeof(C);
    check(cudaMemset2DAsync(c, row, 0, width, static_cast<std::size_t>(m), queue.stream), "clearing a product");
    return;
  }
  ProductShape shape;
  shape.m = m, shape.n = n, shape.k = k;
  shape.stride_a = a.stride, shape.stride_b = b.stride, shape.stride_c = stride_c;
  shape.transposed_a = a.transposed, shape.transposed_b = b.transposed;
  shape.narrow = sizeof(T) == 2, shape.wide_c = sizeof(C) == 4, shape.accumulate = accumulate;
  queue.products->run(shape, a.data, b.data, c, queue.stream);
}

template <>
struct Kernel<MatMul> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    const Operand<T>&a = call.inputs[0], &b = call.inputs[1], &c = call.results[0];
    const bool ta = call.attributes[0] != 0, tb = call.attributes[1] != 0;
    const auto product = [&](auto* to) {
      gemm(c.rows, c.columns, ta ? a.rows : a.columns, DeviceFactor<T>{a.data, a.stride, ta}, DeviceFactor<T>{b.data, b.stride, tb}, to,
           c.stride, c.accumulate, queue);
    };
    c.wide != nullptr ? product(c.wide) : product(c.data);
  }
};

}  // namespace linden::cuda
