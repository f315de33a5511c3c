#define BOOST_TEST_MODULE embedding
#include <linden/ops/embedding.hpp>
//
#include <boost/test/unit_test.hpp>

#include "support/expect_gradient.hpp"

namespace {
using namespace linden;
using namespace linden::test;
constexpr auto look_up = [](Expr<Shape<6, 3>> table, Ids<Shape<tokens>> ids) { return embedding(table, ids); };

Tensor<std::int32_t, Shape<tokens>> ids_of(std::initializer_list<std::int32_t> values) {
  Tensor<std::int32_t, Shape<tokens>> ids(values.size());
  std::ranges::copy(values, ids.span().begin());
  return ids;
}
}  // namespace

BOOST_AUTO_TEST_CASE(rows_of_the_table) {
  const auto table = random_tensor<Shape<6, 3>>(1);
  for (const auto& ids : {ids_of({}), ids_of({5}), ids_of({0, 5, 0, 2})}) {
    const auto y = compile(look_up)(table, ids);
    for (long t = 0; t < y.rows(); ++t)
      for (long j = 0; j < 3; ++j) BOOST_TEST(y(t, j) == table(ids[t], j));
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_the_table) {
  const auto table = random_tensor<Shape<6, 3>>(1);
  expect_gradient(look_up, table, ids_of({0, 5, 0, 2, 0}));
  const auto nothing = vjp(look_up)(table, ids_of({}), random_tensor<Shape<tokens, 3>>(2, 0));
  for (const double g : nothing.span()) BOOST_TEST(g == 0);
  // Linear in the upstream gradient: the gradient with respect to G is the embedding again.
  expect_gradient(
      [](Ids<Shape<tokens>> ids, Expr<Shape<tokens, 3>> g) {
        return vjp<0>(look_up)(Expr<Shape<6, 3>>(symbolic::zeros(*g.graph, 6, 3)), ids, g);
      },
      ids_of({4, 4, 1}), random_tensor<Shape<tokens, 3>>(3, 3));
}

BOOST_AUTO_TEST_CASE(ids_outside_the_table_are_refused) {
  const auto table = random_tensor<Shape<6, 3>>(1);
  const auto says = [](const char* message) {
    return [message](const ShapeError& e) { return std::string(e.what()) == message; };
  };
  BOOST_CHECK_EXCEPTION(compile(look_up)(table, ids_of({0, 6})), ShapeError,
                        says("linden::embedding: id 6 at position 1 lies outside the vocabulary of 6"));
  BOOST_CHECK_EXCEPTION(compile(look_up)(table, ids_of({-1})), ShapeError,
                        says("linden::embedding: id -1 at position 0 lies outside the vocabulary of 6"));
}
