// expected: linden: gradient of an argument of ids; integers have none
#include <linden/graph/function.hpp>
#include <linden/ops/embedding.hpp>
using namespace linden;

constexpr auto look_up = [](Expr<Shape<10, 8>> table, Ids<Shape<tokens>> ids) { return embedding(table, ids); };

#ifdef LINDEN_FIXED
constexpr auto gradient = vjp<0>(look_up);
#else
constexpr auto gradient = vjp<1>(look_up);
#endif

int main() { return program<decltype(gradient)>.result_count - 1; }
