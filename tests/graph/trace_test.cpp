#define BOOST_TEST_MODULE trace
#include <linden/graph/trace.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/graph/function.hpp>
#include <linden/ops/product.hpp>
#include <string_view>

namespace {
using namespace linden;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<4, 4>>;

template <class Mode>
struct Inner {
  typename Mode::template tensor<Shape<4, 4>> weight{"inner.weight"};
};
template <class Mode>
struct Outer {
  typename Mode::template tensor<Shape<4>> bias{"bias"};
  Inner<Mode> inner;
};

// Arguments: references and cv do not matter, records contribute their leaves in order.
constexpr auto layer = [](const X& x, Frozen<Outer<Symbolic>> w, Ids<Shape<tokens>>) {
  return x * w.inner.weight + w.bias;
};
using Layer = decltype(layer);
static_assert(std::is_same_v<arguments_of<Layer>, std::tuple<X, Frozen<Outer<Symbolic>>, Ids<Shape<tokens>>>>);
static_assert(std::is_same_v<result_of<Layer>, X>);
static_assert(program<Layer>.inputs == 4);
static_assert(program<Layer>.result_count == 1);
static_assert(program<Layer>.graph[1].columns == 4 && program<Layer>.graph[1].rows == 1);
static_assert(program<Layer>.graph[0].rows == tokens);
static_assert(std::string_view(program<Layer>.graph[1].name) == "bias");
static_assert(std::string_view(program<Layer>.graph[2].name) == "inner.weight");
static_assert(program<Layer>.graph[3].ids && !program<Layer>.graph[2].ids);

// Results: tuples and records of them.
static_assert(program<decltype([](X x, W w) { return std::tuple(x, std::tuple(w, x + x)); })>.result_count == 3);
static_assert(program<decltype([](Inner<Symbolic> w) { return w; })>.results[0] == 0);

// Shapes travel in the types.
static_assert(std::is_same_v<result_of<decltype([](X x, W w) { return transpose(x * w); })>, Expr<Shape<4, tokens>>>);
static_assert(std::is_same_v<
              result_of<decltype([](Expr<Shape<4>> row, Expr<Shape<tokens, 1>> column) { return row + column; })>, X>);
static_assert(
    std::is_same_v<result_of<decltype([](Expr<Shape<>> s, Expr<Shape<4>> row) { return s / row; })>, Expr<Shape<4>>>);

// `same` is true for what is the same expression ...
static_assert(same([](X x, W w) { return x * w; }, [](X x, W w) { return x * transpose(transpose(w)); }));
static_assert(same([](X x, X y) { return x + y; }, [](X x, X y) { return y + x; }));
static_assert(same([](X x, W w) { return std::tuple(x * w, x); }, [](X x, W w) { return std::tuple(x * w, x); }));
// ... and false for what is not, even where the values would agree.
static_assert(!same([](X x, W w) { return x * w; }, [](X x, W w) { return x * transpose(w); }));
static_assert(!same([](X x, X y) { return x - y; }, [](X x, X y) { return y - x; }));
static_assert(!same([](X x, X y) { return x - y; }, [](X x, X y) { return x + (-y); }));
static_assert(!same([](X x) { return 2.0 * x; }, [](X x) { return 3.0 * x; }));
static_assert(!same([](X x) { return std::tuple(x, x); }, [](X x) { return x; }));
static_assert(!same([](X x, X y) { return std::tuple(x, y); }, [](X x, X y) { return std::tuple(y, x); }));
static_assert(!same([](X x, X) { return x; }, [](X, X y) { return y; }));
}  // namespace

BOOST_AUTO_TEST_CASE(the_compiler_agreed) { BOOST_TEST(program<Layer>.graph.size == 6); }
