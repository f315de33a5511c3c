// a * b with inner extents that differ: the message says which, and what was probably meant.
// expected: linden: a * b: columns of a must equal rows of b; did you mean a * transpose(b)?
#include <linden/graph/trace.hpp>
#include <linden/ops/product.hpp>
using namespace linden;

constexpr auto f = [](Expr<Shape<tokens, 64>> x, Expr<Shape<32, 64>> w) {
#ifdef LINDEN_FIXED
  return x * transpose(w);
#else
  return x * w;
#endif
};

int main() { return program<decltype(f)>.result_count - 1; }
