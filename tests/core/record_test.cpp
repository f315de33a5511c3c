#define BOOST_TEST_MODULE record
#include <linden/core/record.hpp>
//
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

namespace {
using namespace linden;
template <class Mode>
struct Pair {
  typename Mode::template tensor<Shape<2, 3>> a{"a"};
  typename Mode::template tensor<Shape<3>> b{"b"};
};
template <class Mode>
struct Nested {
  Pair<Mode> first{{"first.a"}, {"first.b"}};
  typename Mode::template tensor<Shape<>> number{"number"};
  Pair<Mode> second;
};
template <class Mode>
struct Sixteen {
  typename Mode::template tensor<Shape<1>> a{"a"}, b{"b"}, c{"c"}, d{"d"}, e{"e"}, f{"f"}, g{"g"}, h{"h"}, i{"i"},
      j{"j"}, k{"k"}, l{"l"}, m{"m"}, n{"n"}, o{"o"}, p{"p"};
};
using Views = Bound<double>;

static_assert(std::tuple_size_v<decltype(members(std::declval<Pair<Views>&>()))> == 2);
static_assert(std::tuple_size_v<decltype(members(std::declval<Nested<Views>&>()))> == 3);
static_assert(std::tuple_size_v<decltype(members(std::declval<Sixteen<Views>&>()))> == 16);

auto names(auto& record) {
  std::vector<std::string> found;
  for_each_leaf(record, [&](auto& leaf) { found.emplace_back(leaf.name()); });
  return found;
}
}  // namespace

BOOST_AUTO_TEST_CASE(leaves_come_in_order_of_declaration) {
  Nested<Views> record;
  const std::vector<std::string> expected{"first.a", "first.b", "number", "a", "b"};
  BOOST_TEST(names(record) == expected);
  const Nested<Views> constant;
  BOOST_TEST(names(constant) == expected);
  Sixteen<Views> sixteen;
  BOOST_TEST(names(sixteen).size() == 16U);
  BOOST_TEST(names(sixteen).back() == "p");
}

BOOST_AUTO_TEST_CASE(tuples_of_records_too) {
  std::tuple<Pair<Views>, TensorView<double, Shape<4>>> both{Pair<Views>{}, "c"};
  const std::vector<std::string> expected{"a", "b", "c"};
  BOOST_TEST(names(both) == expected);
}

BOOST_AUTO_TEST_CASE(pairs_of_leaves_match) {
  Pair<Bound<float>> floats;
  Pair<Views> doubles;
  int visits = 0;
  for_each_leaf_pair(floats, doubles, [&]<class L, class R>(L& left, R& right) {
    static_assert(std::is_same_v<typename L::shape, typename R::shape>);
    BOOST_TEST(std::string(left.name()) == right.name());
    ++visits;
  });
  BOOST_TEST(visits == 2);
}

BOOST_AUTO_TEST_CASE(members_are_references) {
  Pair<Views> record;
  std::vector<double> memory(3);
  std::get<1>(members(record)) = TensorView<double, Shape<3>>(memory.data());
  BOOST_TEST(record.b.data() == memory.data());
}
