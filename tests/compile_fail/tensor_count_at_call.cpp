// expected: linden: wrong number of arguments
#include <linden/backend/executor.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

constexpr auto f = [](Expr<Shape<tokens, 8>> x, Expr<Shape<tokens, 8>> y) { return x + y; };

int main() {
  const Tensor<float, Shape<tokens, 8>> x(3);
#ifdef LINDEN_FIXED
  return compile(f)(x, x).rows() == 3 ? 0 : 1;
#else
  return compile(f)(x).rows() == 3 ? 0 : 1;
#endif
}
