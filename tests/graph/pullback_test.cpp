#define BOOST_TEST_MODULE pullback
#include <linden/graph/pullback.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/ops/attention.hpp>
#include <linden/ops/norm.hpp>
#include <linden/ops/product.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, 6>>;
using W = Expr<Shape<6, 6>>;
using Row = Expr<Shape<6>>;
using Spans = Ids<Shape<sequences, 4>>;

// A small block: norm, product, attention (two results), gate, residual sums.
constexpr auto block = [](X x, Row norm, W w, W v, Spans spans) {
  const X normed = rms_norm(x, norm, 1e-2), q = normed * w, k = silu(q), u = normed * v;
  const X h = x + attention<2, 2>(q, k, u, spans) * v;
  return h + hadamard(silu(h * w), h) * v;
};
using F = decltype(block);
using Everything = decltype(pullback<Keep::everything, 0, 1, 2, 3>(block));
using Costly = decltype(pullback<Keep::costly, 0, 1, 2, 3>(block));
using Inputs = decltype(pullback<Keep::inputs, 0, 1, 2, 3>(block));

// A stricter policy keeps less.
constexpr long kept(const linden::detail::Kept& k) { return k.pools.columns_per(tokens); }
static_assert(kept(Everything::kept) > kept(Costly::kept));
static_assert(kept(Costly::kept) > kept(Inputs::kept));
static_assert(kept(Inputs::kept) == 0 && Inputs::kept.pools.count == 0);
// Without numbers, all arguments that can have a gradient.
static_assert(std::is_same_v<decltype(pullback<Keep::costly>(block)), Costly>);

// x exp(x): everything keeps exp(x); an elementwise operation is rebuilt; either way forward is one loop.
constexpr auto gate = [](X x, W w) { return hadamard(x * w, exp(x * w)); };
constexpr bool keeps(const Program& p, const linden::detail::Kept& k, const Descriptor* op) {
  for (int i = 0; i < p.graph.size; ++i)
    if (k.nodes[static_cast<std::size_t>(i)] && p.graph[i].op == op) return true;
  return false;
}
using GateAll = decltype(pullback<Keep::everything>(gate));
using GateCostly = decltype(pullback<Keep::costly>(gate));
static_assert(keeps(GateAll::traced, GateAll::kept, &descriptor<Exp>));
static_assert(!keeps(GateCostly::traced, GateCostly::kept, &descriptor<Exp>));
static_assert(keeps(GateCostly::traced, GateCostly::kept, &descriptor<MatMul>));
// Attention is costly: its output and its log-sum-exp are kept.
static_assert(keeps(Costly::traced, Costly::kept, &descriptor<Attention>));
static_assert(keeps(Costly::traced, Costly::kept, &descriptor<Result>));

constexpr long n = 7;
struct Fixture {
  Tensor<double, Shape<tokens, 6>> x = random_tensor<Shape<tokens, 6>>(1, n), g = random_tensor<Shape<tokens, 6>>(5, n);
  Tensor<double, Shape<6>> norm = random_tensor<Shape<6>>(2);
  Tensor<double, Shape<6, 6>> w = random_tensor<Shape<6, 6>>(3), v = random_tensor<Shape<6, 6>>(4);
  Tensor<std::int32_t, Shape<sequences, 4>> spans{2};
  Fixture() {
    const std::array<std::int32_t, 8> rows{0, 4, 0, 4, 4, 3, 4, 3};
    std::ranges::copy(rows, spans.span().begin());
  }
};
struct Gradients {
  Tensor<double, Shape<tokens, 6>> y{n}, x{n};
  Tensor<double, Shape<6>> norm;
  Tensor<double, Shape<6, 6>> w, v;
};

template <class P>
Gradients run(Fixture& f, bool spoil = false) {
  Gradients out;
  Workspace<double> workspace;
  Sizes sizes;
  sizes.bound[static_cast<std::size_t>(-tokens - 1)] = n;
  AlignedBuffer<double> saved(static_cast<std::size_t>(P::kept.pools.elements(sizes)));
  run_forward(P{}, workspace, saved.data(), out.y.view(), f.x, f.norm, f.w, f.v, f.spans);
  if (spoil) std::ranges::fill(workspace.span(), std::nan(""));
  run_backward(P{}, workspace, saved.data(), std::tuple(out.x.view(), out.norm.view(), out.w.view(), out.v.view()), f.g,
               f.x, f.norm, f.w, f.v, f.spans);
  return out;
}
void check_equal(const auto& a, const auto& b) {
  BOOST_REQUIRE_EQUAL(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) BOOST_TEST(a.span()[i] == b.span()[i]);
}
}  // namespace

BOOST_AUTO_TEST_CASE(policies_agree_with_each_other_and_with_vjp) {
  Fixture f;
  const auto y = compile(block)(f.x, f.norm, f.w, f.v, f.spans);
  const auto [dx, dnorm, dw, dv] = vjp(block)(f.x, f.norm, f.w, f.v, f.spans, f.g);
  for (const Gradients& found : {run<Everything>(f), run<Costly>(f), run<Inputs>(f)}) {
    check_equal(found.y, y);
    check_equal(found.x, dx);
    check_equal(found.norm, dnorm);
    check_equal(found.w, dw);
    check_equal(found.v, dv);
  }
}

BOOST_AUTO_TEST_CASE(backward_needs_nothing_of_the_workspace_of_forward) {
  Fixture f;
  const Gradients kept_apart = run<Costly>(f), spoilt = run<Costly>(f, true), repeated = run<Inputs>(f, true);
  check_equal(kept_apart.w, spoilt.w);
  check_equal(kept_apart.x, repeated.x);
}

BOOST_AUTO_TEST_CASE(gradients_are_those_of_the_block) {
  Fixture f;
  expect_gradient(block, {.differences = 1e-6, .single = 1e-4, .step = 1e-5}, f.x, f.norm, f.w, f.v, f.spans);
}
