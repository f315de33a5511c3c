#define BOOST_TEST_MODULE few_shot
#include <linden/eval/few_shot.hpp>

#include <boost/test/unit_test.hpp>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;
using Indices = std::vector<std::size_t>;

namespace {

/// The first entries of a draw.
Indices head(const Indices& draw, std::size_t count) {
  return {draw.begin(), draw.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

// Expected: random.Random(1234).sample of CPython, the sizes of the public data sets.
BOOST_AUTO_TEST_CASE(draws_what_the_harness_draws) {
  const FewShotDraws three = draw_few_shot(1319, 7473, 3);
  BOOST_TEST(three.size() == 1319U);
  BOOST_TEST(three[0] == (Indices{6374, 3610, 957}), boost::test_tools::per_element());
  BOOST_TEST(three[1] == (Indices{61, 742, 7462}), boost::test_tools::per_element());
  const FewShotDraws eight = draw_few_shot(2, 7473, 8);
  BOOST_TEST(eight[0] == (Indices{6374, 3610, 957, 61, 742, 7462, 6610, 4769}), boost::test_tools::per_element());
  BOOST_TEST(eight[1] == (Indices{286, 5501, 5677, 687, 806, 6279, 2905, 1939}), boost::test_tools::per_element());
  const FewShotDraws many = draw_few_shot(2, 1119, 25);
  BOOST_TEST(many[0] == (Indices{902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
                                 991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108}),
             boost::test_tools::per_element());
  BOOST_TEST(head(many[1], 7) == (Indices{954, 140, 182, 1054, 94, 552, 129}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(draws_one_more_where_the_question_may_be_drawn) {
  const FewShotDraws none = draw_few_shot(2, 39905, 10, [](std::size_t, std::size_t) { return false; });
  BOOST_TEST(none[0] == (Indices{28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519}),
             boost::test_tools::per_element());
  BOOST_TEST(none[1] == (Indices{2019, 1038, 22681, 31735, 30379, 9735, 5982, 11999, 7498, 958}),
             boost::test_tools::per_element());
  // Document 0 is the third of its examples: the eleventh, 1142, moves up. Document 1 is not affected.
  const auto third = [](std::size_t d, std::size_t p) { return d == 0 && p == 490; };
  const FewShotDraws dropped = draw_few_shot(2, 39905, 10, third);
  BOOST_TEST(dropped[0] == (Indices{28883, 7657, 5940, 38156, 2288, 5500, 6450, 23241, 15519, 1142}),
             boost::test_tools::per_element());
  BOOST_TEST(dropped[1] == none[1], boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(later_questions_change_no_draw) {
  const FewShotDraws some = draw_few_shot(5, 100, 4), all = draw_few_shot(50, 100, 4);
  for (std::size_t d = 0; d < some.size(); ++d) BOOST_TEST(some[d] == all[d], boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(needs_no_pool_without_shots_and_a_large_enough_one_with) {
  const auto never = [](std::size_t, std::size_t) { return false; };
  BOOST_TEST(draw_few_shot(3, 0, 0).at(2).empty());
  BOOST_TEST(draw_few_shot(3, 0, 0, never).at(2).empty());
  BOOST_TEST(draw_few_shot(1, 4, 4)[0].size() == 4U);
  refused<UsageError>([] { return draw_few_shot(1, 4, 5); }, {"5 are to be drawn", "the pool has only 4"});
  refused<UsageError>([&] { return draw_few_shot(1, 4, 4, never); }, {"5 are to be drawn", "only 4"});
}
