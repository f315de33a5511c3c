// What is declared Frozen has no gradient, and asking says so.
// expected: linden: gradient of an argument that is declared Frozen; remove Frozen from its type, or do not ask for it
#include <linden/graph/function.hpp>
#include <linden/ops/product.hpp>
using namespace linden;

constexpr auto layer = [](Expr<Shape<tokens, 8>> x, Frozen<Expr<Shape<8, 4>>> w) { return x * Expr<Shape<8, 4>>(w); };

#ifdef LINDEN_FIXED
constexpr auto gradient = vjp<0>(layer);
#else
constexpr auto gradient = vjp<1>(layer);
#endif

int main() { return program<decltype(gradient)>.result_count - 1; }
