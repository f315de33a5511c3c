// A user of the core: a function, its gradient made by the compiler, and what it gives.
#include <linden/linden.hpp>

#if defined(NLOHMANN_JSON_VERSION_MAJOR) || defined(PCRE2_MAJOR)
#error "the core includes JSON or PCRE2"
#endif

static_assert(LINDEN_VERSION >= 100);

using linden::Expr, linden::Shape, linden::Tensor;
using X = Expr<Shape<2, 2>>;
using W = Expr<Shape<2, 1>>;
constexpr auto product = [](X x, W w) { return x * w; };
constexpr auto dX = linden::vjp<0>(product);  // (x, w, g) -> g w^T

int main() {
  Tensor<float, Shape<2, 2>> x;
  Tensor<float, Shape<2, 1>> w, g;
  w(0, 0) = 2, w(1, 0) = 3, g(0, 0) = 5, g(1, 0) = 7;
  const auto found = dX(x, w, g);
  return found(0, 0) == 10 && found(0, 1) == 15 && found(1, 0) == 14 && found(1, 1) == 21 ? 0 : 1;
}
