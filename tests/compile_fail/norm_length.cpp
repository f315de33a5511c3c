// expected: linden::rms_norm(x, w, eps): w must have as many elements as x has columns
#include <linden/graph/trace.hpp>
#include <linden/ops/norm.hpp>
using namespace linden;

#ifdef LINDEN_FIXED
using Weight = Expr<Shape<8>>;
#else
using Weight = Expr<Shape<9>>;
#endif
constexpr auto f = [](Expr<Shape<tokens, 8>> x, Weight w) { return rms_norm(x, w, 1e-5); };

int main() { return program<decltype(f)>.result_count - 1; }
