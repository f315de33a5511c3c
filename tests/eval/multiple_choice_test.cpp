#define BOOST_TEST_MODULE multiple_choice
#include <linden/eval/multiple_choice.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;
using linden::test::SmallTokenizer;
using Ids = std::vector<std::int32_t>;

namespace {

const std::string prompt = "Question: Tom has 12 apples. How many apples does Tom have?\nAnswer:";

struct Fixture {
  SmallTokenizer folder;
  Tokenizer tokenizer = Tokenizer::load(folder.path());

  Sample one(const std::string& before, const std::string& choice, std::size_t length = 1000) const {
    const std::vector<std::string> choices{choice};
    return choice_samples(tokenizer, before, choices, length).at(0);
  }
  /// The tokens that are scored.
  static Ids learned(const Sample& sample) {
    Ids ids;
    for (std::size_t i = 0; i < sample.ids.size(); ++i)
      if (sample.labels[i] != Sample::ignored) ids.push_back(sample.ids[i]);
    return ids;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(requests, Fixture)

BOOST_AUTO_TEST_CASE(scores_what_follows_the_prompt) {
  const auto context = tokenizer.encode(prompt, true), whole = tokenizer.encode(prompt + " 12 apples", true);
  const Sample sample = one(prompt, "12 apples");
  BOOST_TEST(sample.ids == whole, boost::test_tools::per_element());
  BOOST_TEST_REQUIRE(sample.labels.size() == sample.ids.size());
  for (std::size_t i = 0; i < whole.size(); ++i)
    BOOST_TEST(sample.labels[i] == (i < context.size() ? Sample::ignored : whole[i]));
  const std::vector<std::string> choices{"30", "12 apples"};
  const auto both = choice_samples(tokenizer, prompt, choices, 1000);
  BOOST_TEST(both.size() == 2U);
  BOOST_TEST(both[1].ids == sample.ids, boost::test_tools::per_element());
  BOOST_TEST(both[1].row == 1);
}

BOOST_AUTO_TEST_CASE(moves_space_at_the_end_of_the_prompt_to_the_choice) {
  const Sample moved = one(prompt + " \n", "12");
  BOOST_TEST(moved.ids == tokenizer.encode(prompt + " \n 12", true), boost::test_tools::per_element());
  BOOST_TEST(learned(moved).size() == moved.ids.size() - tokenizer.encode(prompt, true).size());
}

BOOST_AUTO_TEST_CASE(keeps_the_end_of_what_is_too_long) {
  const Sample whole = one(prompt, "12 apples"), cut = one(prompt, "12 apples", 9);
  BOOST_TEST(cut.ids == (Ids{whole.ids.end() - 10, whole.ids.end()}), boost::test_tools::per_element());
  BOOST_TEST(cut.labels == (Ids{whole.labels.end() - 10, whole.labels.end()}), boost::test_tools::per_element());
  refused<UsageError>([&] { return one(prompt, "12 apples", 1); }, {"choice \"12 apples\": found", "expected 1 to 1"});
}

BOOST_AUTO_TEST_SUITE_END()
