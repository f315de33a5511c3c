// expected: linden: elementwise operands must have the same rows, or one of them a single one
#include <linden/graph/trace.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<tokens, 1>> b) { return hadamard(a, b); };
#else
constexpr auto f = [](Expr<Shape<tokens, 8>> a, Expr<Shape<sequences, 1>> b) { return hadamard(a, b); };
#endif

int main() { return program<decltype(f)>.result_count - 1; }
