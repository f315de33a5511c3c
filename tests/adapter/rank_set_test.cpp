#define BOOST_TEST_MODULE rank_set
#include <linden/adapter/rank_set.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <type_traits>
#include <vector>

using linden::RankSet;
using linden::UsageError;

namespace {

// A structural type: a value is a template argument, and equal values name one type.
template <RankSet Ranks>
struct Holder {
  static constexpr int largest = Ranks.largest();
};
static_assert(Holder<RankSet{1, 2, 4}>::largest == 4);
static_assert(std::is_same_v<Holder<RankSet{1, 2, 4}>, Holder<RankSet::powers_of_two(4)>>);
static_assert(!std::is_same_v<Holder<RankSet{1, 2, 4}>, Holder<RankSet{1, 2}>>);

template <int... Ranks>
concept ValidRanks = requires {
  typename std::integral_constant<int, RankSet{Ranks...}.largest()>;
};
static_assert(ValidRanks<1> && ValidRanks<3, 5, 12>);
static_assert(!ValidRanks<> && !ValidRanks<0> && !ValidRanks<-1, 2> && !ValidRanks<2, 1> && !ValidRanks<1, 4, 4>);

constexpr RankSet ranks{1, 2, 4, 8};
static_assert(ranks.size() == 4 && ranks[2] == 4 && ranks.largest() == 8);
static_assert(ranks.contains(8) && !ranks.contains(3) && !ranks.contains(0));
static_assert(ranks.up_to(7) == RankSet{1, 2, 4} && ranks.up_to(4) == RankSet{1, 2, 4} && ranks.up_to(99) == ranks);
static_assert(RankSet::powers_of_two(1) == RankSet{1} && RankSet::powers_of_two(12) == ranks);
static_assert(RankSet::powers_of_two(2147483647).largest() == 1 << 30);

template <class Action>
void expect_refusal(Action action, const std::string& message) {
  BOOST_CHECK_EXCEPTION(action(), UsageError, [&](const UsageError& error) {
    const bool same = message == error.what();
    if (!same) BOOST_TEST_MESSAGE("found:    " << error.what() << "\nexpected: " << message);
    return same;
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(iterates_over_its_ranks_alone) {
  const std::vector<int> given{3, 5, 12};
  const RankSet set(given);
  BOOST_CHECK_EQUAL_COLLECTIONS(set.begin(), set.end(), given.begin(), given.end());
  const std::span<const int> view = set;
  BOOST_TEST(view.size() == 3U);
}

BOOST_AUTO_TEST_CASE(reads_and_writes_lists) {
  BOOST_CHECK(RankSet::parse("1,2,4,8") == ranks);
  BOOST_CHECK(RankSet::parse(" 3 , 5,\t12 ") == (RankSet{3, 5, 12}));
  BOOST_TEST(to_string(RankSet::parse("16")) == "16");
  BOOST_TEST(to_string(ranks) == "1,2,4,8");
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_rank_set) {
  expect_refusal([] { (void)RankSet(std::vector<int>{}); },
                 "rank set: it is empty; expected at least one rank, such as 1,2,4,8");
  expect_refusal([] { (void)RankSet::parse("0,1"); }, "rank set 0,1: item 1 is 0; ranks must be positive");
  expect_refusal([] { (void)RankSet::parse("1,4,4"); },
                 "rank set 1,4,4: item 3 is 4 after 4; ranks must be strictly ascending");
  expect_refusal([] { (void)RankSet::parse("4,2"); },
                 "rank set 4,2: item 2 is 2 after 4; ranks must be strictly ascending");
  expect_refusal([] { (void)RankSet::parse("2,-3"); }, "rank set 2,-3: item 2 is -3; ranks must be positive");
  std::vector<int> many(33);
  for (int i = 0; i < 33; ++i) many[static_cast<std::size_t>(i)] = i + 1;
  expect_refusal([&] { (void)RankSet(many); }, "rank set: 33 ranks were given; at most 32 are supported");
  expect_refusal([] { (void)ranks.up_to(0); }, "rank set: its smallest rank is 1; expected one rank at least that is not above 0");
  expect_refusal([] { (void)RankSet::powers_of_two(0); },
                 "rank set: it is empty; expected at least one rank, such as 1,2,4,8");
}

BOOST_AUTO_TEST_CASE(names_the_item_that_is_no_number) {
  const std::string rest = "; expected a positive whole number, as in 1,2,4,8";
  expect_refusal([] { (void)RankSet::parse("1,x,4"); }, "rank set \"1,x,4\": item 2 is \"x\"" + rest);
  expect_refusal([] { (void)RankSet::parse("1,2,"); }, "rank set \"1,2,\": item 3 is \"\"" + rest);
  expect_refusal([] { (void)RankSet::parse(""); }, "rank set \"\": item 1 is \"\"" + rest);
  expect_refusal([] { (void)RankSet::parse("1,2.5"); }, "rank set \"1,2.5\": item 2 is \"2.5\"" + rest);
  expect_refusal([] { (void)RankSet::parse("99999999999"); },
                 "rank set \"99999999999\": item 1 is \"99999999999\"" + rest);
  std::string many = "1";
  for (int i = 2; i <= 40; ++i) many += "," + std::to_string(i);
  expect_refusal([&] { (void)RankSet::parse(many); }, "rank set: 40 ranks were given; at most 32 are supported");
}
