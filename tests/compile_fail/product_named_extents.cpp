// Two run-time extents of different names never match, whatever their sizes will be.
// expected: linden: a * b: columns of a must equal rows of b; did you mean a * transpose(b)?
#include <linden/graph/trace.hpp>
#include <linden/ops/product.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
constexpr auto f = [](Expr<Shape<tokens, rank>> x, Expr<Shape<rank, 8>> b) { return x * b; };
#else
constexpr auto f = [](Expr<Shape<tokens, rank>> x, Expr<Shape<cached, 8>> b) { return x * b; };
#endif

int main() { return program<decltype(f)>.result_count - 1; }
