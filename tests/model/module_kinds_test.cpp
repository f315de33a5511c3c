#define BOOST_TEST_MODULE module_kinds
#include <linden/model/module_kinds.hpp>
//
#include <boost/test/unit_test.hpp>

using namespace linden;

BOOST_AUTO_TEST_CASE(every_kind_has_an_extent_of_its_own) {
  ModuleRanks ranks(3);
  ranks.of[static_cast<std::size_t>(ModuleKind::gate)] = 7;
  Sizes sizes;
  ranks.bind(sizes);
  BOOST_TEST(sizes.of(rank_of(ModuleKind::gate)) == 7);
  BOOST_TEST(sizes.of(rank_of(ModuleKind::q)) == 3);
  BOOST_TEST(sizes.of(rank_of(ModuleKind::down)) == 3);
  BOOST_TEST(sizes.of(rank) == 0);
  BOOST_TEST(ranks.at(rank_of(ModuleKind::gate)) == 7);
  BOOST_TEST(ranks.largest() == 7);
  BOOST_TEST(extent_name(rank_of(ModuleKind::gate)) == "rank of module 4");
}

BOOST_AUTO_TEST_CASE(rows_of_all_kinds_alike_and_apart) {
  const std::vector<float> p{1, 2, 3, 4, 5, 6};
  const RankRows<float> alike(p.data(), 3, 0);
  const auto view = alike.view(10);
  BOOST_TEST(view.up.rows() == 10);
  BOOST_TEST(view.up(9, 2) == 3);
  std::array<RankRows<float>::Rows, module_kinds> rows{};
  rows[static_cast<std::size_t>(ModuleKind::o)] = {p.data(), 2, 3};
  const RankRows<float> apart(rows);
  BOOST_TEST(apart.view(2).o(1, 1) == 5);
  BOOST_TEST(apart.view(2).q.columns() == 0);
  BOOST_TEST(apart.active().at(rank_of(ModuleKind::o)) == 2);
  BOOST_TEST(RankRows<float>().active().largest() == 0);
}
