// A call takes tensors of the shapes the function was traced with.
// expected: linden: a tensor's shape must be the shape the function was traced with
#include <linden/backend/executor.hpp>
#include <linden/ops/product.hpp>
using namespace linden;

constexpr auto f = [](Expr<Shape<tokens, 8>> x, Expr<Shape<8, 4>> w) { return x * w; };

int main() {
  const Tensor<float, Shape<tokens, 8>> x(3);
#ifdef LINDEN_FIXED
  const Tensor<float, Shape<8, 4>> w;
#else
  const Tensor<float, Shape<4, 8>> w;
#endif
  return compile(f)(x, w).rows() == 3 ? 0 : 1;
}
