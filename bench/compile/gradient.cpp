// A gradient test of a small function, without a test framework: vjp against central differences, in double.
#include <linden/linden.hpp>

namespace {
using namespace linden;
using X = Expr<Shape<5, 8>>;
using W = Expr<Shape<8, 4>>;
using Y = Expr<Shape<5, 4>>;

constexpr auto f = [](X x, W w) { return silu(x * w); };
constexpr auto weighted_sum = [](X x, W w, Y g) { return sum(hadamard(f(x, w), g)); };

template <class S>
Tensor<double, S> numbers(std::uint64_t seed) {
  Tensor<double, S> tensor;
  PythonRandom random(seed);
  for (double& element : tensor.span()) element = 2 * random.random() - 1;
  return tensor;
}

/// The largest difference between `gradient` and central differences of weighted_sum as `argument` changes, one of x and w.
template <class S>
double largest_difference(const Tensor<double, S>& gradient, Tensor<double, S>& argument, const auto& x, const auto& w, const auto& g) {
  constexpr double h = 1e-5;
  double largest = 0;
  for (std::size_t i = 0; i < argument.size(); ++i) {
    double& element = argument.span()[i];
    const double kept = element;
    element = kept + h;
    const double above = compile(weighted_sum)(x, w, g)[0];
    element = kept - h;
    const double below = compile(weighted_sum)(x, w, g)[0];
    element = kept;
    largest = std::max(largest, std::abs((above - below) / (2 * h) - gradient.span()[i]));
  }
  return largest;
}
}  // namespace

int main() {
  auto x = numbers<Shape<5, 8>>(1);
  auto w = numbers<Shape<8, 4>>(2);
  const auto g = numbers<Shape<5, 4>>(3);
  const auto [dx, dw] = vjp(f)(x, w, g);
  return largest_difference(dx, x, x, w, g) < 1e-8 && largest_difference(dw, w, x, w, g) < 1e-8 ? 0 : 1;
}
