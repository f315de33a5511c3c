// Does automatic differentiation arrive at the gradients in the paper (arXiv:2605.07850, equations 12 and 13)?
//     cmake --build build/release --target closed_form && build/release/bin/closed_form
// The compiler answers: the static_asserts below compare expressions. Then the numbers are checked once more.
#include <iostream>
#include <linden/adapter/closed_form.hpp>
#include <linden/graph/print.hpp>
#include <linden/linden.hpp>
#include <random>

namespace {
using namespace linden;

using X = Expr<Shape<tokens, 64>>;  // row vectors, as many as a batch brings
using W = Frozen<Expr<Shape<64, 32>>>;
using A = Expr<Shape<64, 8>>;
using P = Frozen<Expr<Shape<8>>>;
using B = Expr<Shape<8, 32>>;
using Y = Expr<Shape<tokens, 32>>;

// Equation 7: a frozen layer with a nested low-rank adapter. p makes it LoRA, DyLoRA or MatryoshkaLoRA.
constexpr auto layer = [](X x, W w, A a, P p, B b) { return x * w + x * a * diag(p) * b; };

// Its gradients, given dL/dy: new functions, made by the compiler.
constexpr auto dA = vjp<2>(layer);
constexpr auto dB = vjp<4>(layer);

// The paper's closed forms.
constexpr auto equation_12 = [](X x, W, A, P p, B b, Y g) { return transpose(x) * (g * transpose(b) * diag(p)); };
constexpr auto equation_13 = [](X x, W, A a, P p, B, Y g) { return transpose(x * a * diag(p)) * g; };
static_assert(same(dA, equation_12));
static_assert(same(dB, equation_13));
// vjp<1>(layer) does not compile: w is Frozen.

template <class S>
Tensor<double, S> uniform(std::mt19937& random, auto... sizes) {
  Tensor<double, S> tensor(sizes...);
  for (double& element : tensor.span()) element = std::uniform_real_distribution<double>(-1, 1)(random);
  return tensor;
}

/// dA[i, j] = p[j] sum over t of x[t, i] sum over o of G[t, o] B[j, o], in plain loops.
double difference_to_loops(const auto& found, const auto& x, const auto& p, const auto& b, const auto& g) {
  double worst = 0;
  for (long i = 0; i < found.rows(); ++i)
    for (long j = 0; j < found.columns(); ++j) {
      double sum = 0;
      for (long t = 0; t < x.rows(); ++t)
        for (long o = 0; o < g.columns(); ++o) sum += x(t, i) * g(t, o) * b(j, o);
      worst = std::max(worst, std::abs(found(i, j) - p[j] * sum));
    }
  return worst;
}

void show(const char* name, const auto& tensor) {
  std::cout << name << " =";
  for (const double element : tensor.span()) std::cout << ' ' << element;
  std::cout << '\n';
}

template <class S>
Tensor<double, S> matrix(std::initializer_list<double> values, auto... sizes) {
  Tensor<double, S> tensor(sizes...);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}
}  // namespace

int main() {
  print(std::cout, vjp<2, 4>(layer), {.names = {"x", "W", "A", "p", "B", "G"}});

  std::mt19937 random(1);
  const auto x = uniform<Shape<tokens, 64>>(random, 3);
  const auto w = uniform<Shape<64, 32>>(random);
  const auto a = uniform<Shape<64, 8>>(random);
  const auto b = uniform<Shape<8, 32>>(random);
  const auto upstream = uniform<Shape<tokens, 32>>(random, 3);
  Tensor<double, Shape<8>> p;
  matryoshka_weights(p.span(), RankSet{1, 2, 4, 8}, Scaling::none);  // Algorithm 1: 4 3 2 2 1 1 1 1
  show("\np", p);
  std::cout << "dA on 3 tokens: largest difference to the closed form in loops "
            << difference_to_loops(dA(x, w, a, p, b, upstream), x, p, b, upstream) << "\n\n";

  // Any extents: ClosedForm<in, out, R>. An example to follow with a pencil.
  using Small = ClosedForm<2, 2, 2>;
  const auto [sx, sA, sB] = vjp(Small::Layer{})(matrix<Shape<tokens, 2>>({1, -1}, 1), matrix<Shape<2, 2>>({0, 0, 0, 0}),
                                                matrix<Shape<2, 2>>({1, 2, 3, 4}), matrix<Shape<2>>({2, 1}),
                                                matrix<Shape<2, 2>>({1, 0, 0, 1}), matrix<Shape<tokens, 2>>({1, 2}, 1));
  show("dA", sA);
  show("dB", sB);
  show("dx", sx);
}
// Prints the plan of both gradients (6 steps, 64 bytes per token), then
//
//     p = 4 3 2 2 1 1 1 1
//     dA on 3 tokens: largest difference to the closed form in loops 7.99361e-15
//
//     dA = 2 2 -2 -2
//     dB = -4 -8 -2 -4
//     dx = 6 14
//
// (the difference is rounding: its digits vary from machine to machine).
