// expected: linden: all tensors of a call must have the same element type
#include <linden/backend/executor.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

constexpr auto f = [](Expr<Shape<tokens, 8>> x, Expr<Shape<8>> y) { return x + y; };

int main() {
  const Tensor<float, Shape<tokens, 8>> x(3);
#ifdef LINDEN_FIXED
  const Tensor<float, Shape<8>> y;
#else
  const Tensor<double, Shape<8>> y;
#endif
  return compile(f)(x, y).rows() == 3 ? 0 : 1;
}
