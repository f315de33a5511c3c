#define BOOST_TEST_MODULE batch
#include <boost/test/unit_test.hpp>
#include <linden/data/batch.hpp>
#include <string>
#include <vector>

using namespace linden;
using Ids = std::vector<std::int32_t>;

namespace {

constexpr std::int32_t no = Sample::ignored;
const Sample first{{1, 5, 6, 7}, {no, no, 6, 7}, 0};
const Sample second{{1, 8, 9}, {no, no, no}, 1};  // nothing to learn: the prompt filled it
const Sample third{{1, 4}, {no, 4}, 2};

bool says(const UsageError& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(packs_without_padding) {
  Batch batch;
  BOOST_TEST(batch.tokens() == 0U);
  BOOST_TEST(batch.sequences() == 0U);
  for (const Sample& sample : {first, second, third}) batch.append(sample, 4);
  BOOST_TEST(batch.ids == (Ids{1, 5, 6, 7, 1, 8, 9, 1, 4}), boost::test_tools::per_element());
  BOOST_TEST(batch.targets == (Ids{no, 6, 7, no, no, no, no, 4, no}), boost::test_tools::per_element());
  BOOST_TEST(batch.positions == (Ids{0, 1, 2, 3, 0, 1, 2, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(batch.offsets == (Ids{0, 4, 7, 9}), boost::test_tools::per_element());
  BOOST_TEST(batch.counted == 3);
  BOOST_TEST(batch.tokens() == 9U);
  BOOST_TEST(batch.sequences() == 3U);
}

BOOST_AUTO_TEST_CASE(some_sequences_of_another) {
  Batch whole, part;
  for (const Sample& sample : {first, second, third}) whole.append(sample, 4);
  part.assign(whole, 0, 3);
  BOOST_TEST(part.offsets == whole.offsets, boost::test_tools::per_element());
  BOOST_TEST(part.counted == whole.counted);
  part.assign(whole, 1, 3);
  BOOST_TEST(part.ids == (Ids{1, 8, 9, 1, 4}), boost::test_tools::per_element());
  BOOST_TEST(part.targets == (Ids{no, no, no, 4, no}), boost::test_tools::per_element());
  BOOST_TEST(part.positions == (Ids{0, 1, 2, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(part.offsets == (Ids{0, 3, 5}), boost::test_tools::per_element());
  BOOST_TEST(part.counted == 1);
}

BOOST_AUTO_TEST_CASE(a_label_at_position_0_has_no_prediction) {
  Batch batch;
  batch.append({{3}, {3}, 0}, 1);
  BOOST_TEST(batch.targets == Ids{no}, boost::test_tools::per_element());
  BOOST_TEST(batch.counted == 0);
}

BOOST_AUTO_TEST_CASE(allocates_nothing_within_its_capacity) {
  Batch batch;
  batch.reserve(9, 3);
  const auto* const ids = batch.ids.data();
  const auto* const targets = batch.targets.data();
  const auto* const positions = batch.positions.data();
  const auto* const offsets = batch.offsets.data();
  for (int round = 0; round < 3; ++round) {
    batch.clear();
    BOOST_TEST(batch.counted == 0);
    BOOST_TEST(batch.offsets == Ids{0}, boost::test_tools::per_element());
    for (const Sample& sample : {first, second, third}) batch.append(sample, 4);
  }
  BOOST_TEST(batch.counted == 3);
  BOOST_TEST(batch.sequences() == 3U);
  BOOST_TEST(batch.ids.data() == ids);
  BOOST_TEST(batch.targets.data() == targets);
  BOOST_TEST(batch.positions.data() == positions);
  BOOST_TEST(batch.offsets.data() == offsets);
}

BOOST_AUTO_TEST_CASE(refuses_bad_samples_and_stays_as_it_was) {
  Batch batch;
  batch.append(third, 4);
  const auto refused = [&](const Sample& sample, std::size_t max_length, const std::string& part) {
    BOOST_CHECK_EXCEPTION(batch.append(sample, max_length), UsageError, [&](const auto& e) { return says(e, part); });
  };
  refused({{}, {}, 7}, 4, "the sample of row 7 is empty");
  refused({{1, 2}, {no}, 8}, 4, "the sample of row 8 has 2 ids but 1 labels");
  refused(first, 3, "the sample of row 0 has 4 tokens, expected at most 3");
  BOOST_TEST(batch.ids == third.ids, boost::test_tools::per_element());
  BOOST_TEST(batch.offsets == (Ids{0, 2}), boost::test_tools::per_element());
  BOOST_TEST(batch.counted == 1);
}
