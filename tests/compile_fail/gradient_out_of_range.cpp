// expected: linden: gradient of an argument the function does not have (arguments count from 0)
#include <linden/graph/function.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

constexpr auto f = [](Expr<Shape<tokens, 8>> x, Expr<Shape<8>> y) { return x + y; };

#ifdef LINDEN_FIXED
constexpr auto gradient = vjp<1>(f);
#else
constexpr auto gradient = vjp<2>(f);
#endif

int main() { return program<decltype(gradient)>.result_count - 1; }
