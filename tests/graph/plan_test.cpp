#define BOOST_TEST_MODULE plan
#include <linden/graph/plan.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/adapter/low_rank.hpp>
#include <linden/backend/executor.hpp>

namespace {
using namespace linden;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<4, 4>>;
using Row = Expr<Shape<4>>;

template <class F>
constexpr const Plan& plan(F) {
  return plan_of<F>;
}
constexpr int count(const Plan& p, Step::Kind kind) {
  int found = 0;
  for (int s = 0; s < p.step_count; ++s) found += p.steps[static_cast<std::size_t>(s)].kind == kind ? 1 : 0;
  return found;
}
using enum Step::Kind;

// A chain of elementwise operations is one loop with one root and stores nothing between.
constexpr auto chain = [](X x, X y) { return hadamard(silu(x), y) + exp(2.0 * x - y); };
static_assert(plan(chain).step_count == 1 && count(plan(chain), loop) == 1 && plan(chain).root_count == 1);
static_assert(plan(chain).workspace.count == 0);

// Neighbouring loops of one shape are one step; of two shapes, two.
static_assert(plan([](X x, X y) { return std::tuple(exp(x), x + y); }).step_count == 1);
static_assert(plan([](X x, Row r) { return std::tuple(exp(x), exp(r)); }).step_count == 2);

// x W^T + ((x A) * p) B: the base product, x A, the scaling, and the last product accumulated. No sum is a loop.
using Factors = LowRank<4, 6>::Factors<Symbolic>;
constexpr auto adapted = [](X x, Expr<Shape<6, 4>> w, Factors a, Expr<Shape<tokens, rank>> P) {
  return adapted_linear(x, w, a, P);
};
static_assert(plan(adapted).step_count == 4);
static_assert(count(plan(adapted), kernel) == 2 && count(plan(adapted), loop) == 1 &&
              count(plan(adapted), accumulate) == 1);
static_assert(plan(adapted).workspace.columns_per(tokens) == 0, "the result is written where the caller wants it");
static_assert(plan(adapted).workspace.columns_per(tokens, rank) == 1, "x A, scaled in place");

// Dead code is not planned.
static_assert(plan([](X x, W w) {
                static_cast<void>(exp(x) * w);
                return x * w;
              }).step_count == 1);
static_assert(plan([](X x, W w) { return std::get<1>(std::tuple(x * w, exp(x))); }).workspace.count == 0);

// In place where the operand is read for the last time, not where it is needed again.
static_assert(plan([](X x, W w) { return exp(x * w) * w; }).workspace.columns_per(tokens) == 4);
static_assert(plan([](X x, W w, W v) {
                const auto a = x * w;
                return exp(a) * v + a * w;
              }).workspace.columns_per(tokens) == 8);
static_assert(plan([](X x, W w) {
                const auto a = x * w, b = exp(a), c = b * w, e = exp(c);
                return e * w;
              }).workspace.columns_per(tokens) == 8);
}  // namespace

BOOST_AUTO_TEST_CASE(the_workspace_is_what_the_plan_says) {
  constexpr auto f = [](X x, W w) { return exp(x * w) * w; };
  for (const long n : {1L, 16L, 17L}) {
    Tensor<float, Shape<tokens, 4>> x(n), y(n);
    const Tensor<float, Shape<4, 4>> w;
    Workspace<float> workspace;
    evaluate_into<decltype(f)>(workspace, y, x, w);
    BOOST_TEST(workspace.size() == static_cast<std::size_t>(4 * ((n + 15) / 16) * 16));
  }
}
