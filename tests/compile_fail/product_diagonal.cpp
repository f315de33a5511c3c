// The diagonal's length is the number of columns it scales.
// expected: linden: a * diag(p): columns of a must equal the length of p
#include <linden/graph/trace.hpp>
#include <linden/ops/product.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<8>> p) { return a * diag(p); };
#else
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<4>> p) { return a * diag(p); };
#endif

int main() { return program<decltype(f)>.result_count - 1; }
