// grad is of scalars; for matrices there is vjp.
// expected: linden::grad(f): f must return a scalar, Expr<Shape<>>; use vjp for other shapes
#include <linden/graph/function.hpp>
#include <linden/ops/reduce.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
constexpr auto f = [](Expr<Shape<tokens, 8>> x) { return sum(exp(x)); };
#else
constexpr auto f = [](Expr<Shape<tokens, 8>> x) { return exp(x); };
#endif

int main() { return program<decltype(grad(f))>.result_count - 1; }
