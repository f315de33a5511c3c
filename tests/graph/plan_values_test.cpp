#define BOOST_TEST_MODULE plan_values
#include <linden/graph/plan.hpp>
//
#include <boost/test/unit_test.hpp>
#include <linden/ops/norm.hpp>
#include <linden/ops/product.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using X = Expr<Shape<tokens, 4>>;
using W = Expr<Shape<4, 4>>;
using Row = Expr<Shape<4>>;

// Values, on graphs made to catch a plan that reuses or fuses too much. Every function is also evaluated operation by
// operation, in the order of its nodes, each into memory of its own.
template <class F, int id, class T>
void run_node(const std::vector<std::vector<T>>& values, const std::array<std::array<long, 2>, Graph::capacity>& sizes,
              std::vector<T>& out) {
  constexpr const Node& n = program<F>.graph.nodes[static_cast<std::size_t>(id)];
  using Op = linden::detail::Operation<program<F>.graph.nodes[static_cast<std::size_t>(id)].op>;
  const auto [rows, columns] = sizes[static_cast<std::size_t>(id)];
  out.assign(static_cast<std::size_t>(rows * columns), T(0));
  const auto operand = [&](int k) {
    const auto input = static_cast<std::size_t>(n.inputs[static_cast<std::size_t>(k)]);
    return Operand<T>{.data = const_cast<T*>(values[input].data()),
                      .rows = sizes[input][0],
                      .columns = sizes[input][1],
                      .stride = sizes[input][1]};
  };
  if constexpr (n.op == &descriptor<Constant>) {
    out[0] = static_cast<T>(n.attributes[0]);
  } else if constexpr (n.op->elementwise) {
    const auto element = [&](int k, long i, long j) {
      const Operand<T> o = operand(k);
      return o.row(o.rows == 1 ? 0 : i)[o.columns == 1 ? 0 : j];
    };
    for (long i = 0; i < rows; ++i)
      for (long j = 0; j < columns; ++j) {
        T& to = out[static_cast<std::size_t>(i * columns + j)];
        if constexpr (n.op->arity == 1)
          to = Op::element(element(0, i, j));
        else
          to = Op::element(element(0, i, j), element(1, i, j));
      }
  } else {
    Call<T> call;
    call.attributes = n.attributes;
    for (int k = 0; k < n.op->arity; ++k) call.inputs[static_cast<std::size_t>(k)] = operand(k);
    call.results[0] = {.data = out.data(), .rows = rows, .columns = columns, .stride = columns};
    Op::cpu(call);
  }
}

/// All results of F, node by node. Operations with several results do not occur in these tests.
template <class F>
std::vector<std::vector<double>> naive(const std::vector<std::vector<double>>& inputs, const Sizes& sizes) {
  const Program& p = program<F>;
  std::vector<std::vector<double>> values(static_cast<std::size_t>(p.graph.size));
  std::array<std::array<long, 2>, Graph::capacity> shape{};
  for (int i = 0; i < p.graph.size; ++i)
    shape[static_cast<std::size_t>(i)] = {sizes.of(p.graph[i].rows), sizes.of(p.graph[i].columns)};
  std::ranges::copy(inputs, values.begin());
  [&]<int... I>(std::integer_sequence<int, I...>) {
    constexpr int first = program<F>.inputs;
    (run_node<F, first + I>(values, shape, values[static_cast<std::size_t>(first + I)]), ...);
  }(std::make_integer_sequence<int, program<F>.graph.size - program<F>.inputs>{});
  std::vector<std::vector<double>> results;
  for (int k = 0; k < p.result_count; ++k)
    results.push_back(values[static_cast<std::size_t>(p.results[static_cast<std::size_t>(k)])]);
  return results;
}

/// A tensor for each expression, named extents of size n.
template <class... E>
auto tensors_for(std::type_identity<std::tuple<E...>>, long n) {
  const auto size = [n](long extent) { return extent < 0 ? n : extent; };
  return std::tuple(
      Tensor<double, typename E::shape>::sized(size(E::shape::row_count), size(E::shape::column_count))...);
}

/// The plan of F against `naive`, overwriting and accumulating into results that already hold something.
template <class F>
void check_plan(F, long n) {
  using Results = linden::detail::as_tuple<result_of<F>>;
  auto arguments = tensors_for(std::type_identity<arguments_of<F>>{}, n);
  auto results = tensors_for(std::type_identity<Results>{}, n);
  std::vector<std::vector<double>> inputs;
  PythonRandom random(5);
  for_each_leaf(arguments, [&](auto& tensor) {
    for (double& e : tensor.span()) e = 2 * random.random() - 1;
    inputs.emplace_back(tensor.span().begin(), tensor.span().end());
  });
  for_each_leaf(results, [](auto& tensor) { std::ranges::fill(tensor.span(), 7.0); });
  Sizes sizes;
  sizes.bound[static_cast<std::size_t>(-tokens - 1)] = n;
  const auto expected = naive<F>(inputs, sizes);
  Workspace<double> workspace;
  const auto run = [&](auto&& out) {
    std::apply([&](const auto&... argument) { evaluate_into<F>(workspace, out, argument...); }, arguments);
  };
  const auto largest_difference = [&](double factor) {
    double worst = 0;
    std::size_t k = 0;
    for_each_leaf(results, [&](const auto& tensor) {
      const std::vector<double>& values = expected[k++];
      for (std::size_t i = 0; i < values.size(); ++i)
        worst = std::max(worst, std::abs(tensor.span()[i] - factor * values[i]) / (1 + std::abs(values[i])));
    });
    return worst;
  };
  const auto views = std::apply([](auto&... tensor) { return std::tuple(tensor.view()...); }, results);
  if constexpr (std::tuple_size_v<Results> == 1)
    run(std::get<0>(views));
  else
    run(views);
  BOOST_TEST(largest_difference(1) < 1e-12);
  if constexpr (std::tuple_size_v<Results> == 1)
    run(Accumulate{std::get<0>(views)});
  else
    run(Accumulate{views});
  BOOST_TEST(largest_difference(2) < 1e-12);
  BOOST_TEST(workspace.size() == static_cast<std::size_t>(plan_of<F>.workspace.elements(sizes)));
}
template <class... F>
void check_plans(F... functions) {
  for (const long n : {1L, 5L, 0L}) (check_plan(functions, n), ...);
}
}  // namespace

BOOST_AUTO_TEST_CASE(values_read_again_later) {
  check_plans(
      [](X x, W w) {
        const auto a = x * w, b = exp(a);
        return b * w + a;  // a lives on after the loop that reads it
      },
      [](X x, W w) {
        const auto a = x * w;
        return std::tuple(exp(a), tanh(a), a * w);  // two roots of one loop read a
      },
      [](X x, W w) {
        const auto a = x * w, b = a * w;
        return std::tuple(a + b, a - b, hadamard(a + b, a - b) * w);
      },
      [](X x, W w) {
        const auto a = x * w;
        const auto s = sum_columns(a);
        return (a + s) * w + hadamard(a, s);  // a column of a is read along its rows
      },
      [](X x, W w) {
        const auto a = x * w;
        const auto r = sum_rows(a);
        return hadamard(a + r, r) * w;
      });
}

BOOST_AUTO_TEST_CASE(roots_of_one_loop) {
  check_plans(
      [](X x, W w) {
        const auto a = x * w, b = exp(a), c = hadamard(b, a), d = tanh(c) + b;
        return std::tuple(b * w, c * w, d * w, a - d);  // each root reads those before it; a is written over by one of them
      },
      [](X x, X y) {  // nothing in common but the shape
        return std::tuple(exp(x), tanh(y), x + y);
      },
      [](X x, X y, X z) {  // more rows than one loop takes
        const auto a = exp(x), b = a + y, c = hadamard(b, z), d = c - a, e = tanh(d), f = e + b, g = f - c, h = hadamard(g, d);
        return std::tuple(a, b, c, d, e, f, g, h, h + a);
      },
      [](X x, Row r, Expr<Shape<tokens, 1>> s) {
        return std::tuple(hadamard(x, s), hadamard(x, r) + s, exp(s), exp(s) + s, hadamard(r, r));
      });
}

BOOST_AUTO_TEST_CASE(results_that_are_read_repeated_or_inputs) {
  check_plans(
      [](X x, W w) {
        const auto a = x * w;
        return std::tuple(a, a * w, exp(a));
      },
      [](X x, W w) {
        const auto a = x * w;
        return std::tuple(a, a);
      },
      [](X x, W w) { return std::tuple(x, w, x); }, [](X x) { return x; },
      [](X x) {
        const auto a = exp(x);
        return std::tuple(a, a, a + x);
      },
      [](X x) { return X(symbolic::zeros(*x.graph, tokens, 4)); });
}

BOOST_AUTO_TEST_CASE(sums_of_products) {
  check_plans([](X x, W w, W v) { return x * w + x * v; }, [](X x, W w, W v) { return exp(x) + x * w + x * v; },
              [](X x, W w) { return x + x * w; },  // an input is never written to
              [](X x, W w) {
                const auto a = x * w;
                return a + a;
              },
              [](X x, W w) {
                const auto a = x * w;
                return a * w + a;
              },
              [](X x, W w) {
                const auto a = exp(x), b = a * w;
                return std::tuple(a + b, b);  // b is a result itself
              },
              [](X x, W w, Row r) { return (x * w + r) + (x + r) * w; });
}

BOOST_AUTO_TEST_CASE(accumulating_below_kernels_that_overwrite) {
  // The sum's first writer cannot add to what the caller's memory holds.
  check_plans([](X x, W w) { return softmax(x) + x * w; },
              [](X x, W w) { return x * w + softmax(x) + softmax(x * w) * w; },
              [](Row r, W w, X x) { return rms_norm(x, r, 1e-2) + exp(x) * w; }, [](X x) { return softmax(x); },
              [](X x, W w) { return transpose(w) * transpose(x) + transpose(softmax(x)); }, [](X x) { return sum(x); });
}

BOOST_AUTO_TEST_CASE(gradients_are_planned_alike) {
  constexpr auto deep = [](X x, W w, W v) {
    const auto a = silu(x * w), b = hadamard(a, x * v), c = softmax(b) + a;
    return c * w + hadamard(c, x);
  };
  check_plans(vjp<0>(deep), vjp<1>(deep), vjp(deep));
}
