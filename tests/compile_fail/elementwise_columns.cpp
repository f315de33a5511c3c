// expected: linden: elementwise operands must have the same columns, or one of them a single one
#include <linden/graph/trace.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<8>> b) { return a + b; };
#else
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<4>> b) { return a + b; };
#endif

int main() { return program<decltype(f)>.result_count - 1; }
