#define BOOST_TEST_MODULE weighting_rows
#include <linden/model/weighting_rows.hpp>
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::test;

AdapterDescription nested(Scaling scaling) {
  AdapterDescription description;
  description.kind = AdapterKind::matryoshka;
  description.scaling = scaling;
  description.full_rank = 8;
  description.train_ranks = RankSet{1, 2, 4, 8};
  return description;
}

/// The row of P of q_proj for one token.
std::vector<double> row(const WeightingRows<double>& weighting, long token_count = 1, long token = 0) {
  const auto q = weighting.rows().view(token_count).q;
  std::vector<double> values;
  for (long i = 0; i < q.columns(); ++i) values.push_back(q(token, i));
  return values;
}
}  // namespace

BOOST_AUTO_TEST_CASE(one_rank_for_all_tokens) {
  WeightingRows<double> weighting(nested(Scaling::none));
  weighting.set(3);
  BOOST_TEST(row(weighting) == (std::vector<double>{1, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(row(weighting, 5, 4) == (std::vector<double>{1, 1, 1}), boost::test_tools::per_element());
  weighting.set(5, Inference::weighted);
  BOOST_TEST(row(weighting) == (std::vector<double>{4, 3, 2, 2, 1}), boost::test_tools::per_element());
  weighting.set(0);
  BOOST_TEST(row(weighting).empty());
  WeightingRows<double> scaled(nested(Scaling::rank));
  scaled.set(2);
  BOOST_TEST(row(scaled) == (std::vector<double>{0.5, 0.5}), boost::test_tools::per_element());
  scaled.set(3, Inference::weighted);
  BOOST_TEST(row(scaled) == (std::vector<double>{1.875, 0.875, 0.375}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_rank_for_every_sequence) {
  WeightingRows<double> weighting(nested(Scaling::rank));
  const std::vector<int> ranks{2, 0, 4};
  const std::vector<std::int32_t> offsets{0, 2, 3, 5};
  weighting.set(ranks, offsets);
  const std::vector<std::vector<double>> expected{
      {0.5, 0.5, 0, 0}, {0.5, 0.5, 0, 0}, {0, 0, 0, 0}, {0.25, 0.25, 0.25, 0.25}, {0.25, 0.25, 0.25, 0.25}};
  for (long t = 0; t < 5; ++t)
    BOOST_TEST(row(weighting, 5, t) == expected[static_cast<std::size_t>(t)], boost::test_tools::per_element());
  BOOST_TEST(weighting.rows().active().largest() == 4);
  weighting.set(ranks, offsets, Inference::weighted);
  BOOST_TEST(row(weighting, 5, 0) == (std::vector<double>{1.875, 0.875, 0, 0}), boost::test_tools::per_element());
}

// A kind with a rank of its own is read whole where the adapter's rank is above it, and not at all where it has none.
BOOST_AUTO_TEST_CASE(kinds_with_ranks_of_their_own) {
  AdapterDescription description = nested(Scaling::rank);
  description.own[static_cast<std::size_t>(ModuleKind::v)] = {2, RankSet{1, 2}};
  description.own[static_cast<std::size_t>(ModuleKind::down)] = {0, RankSet{1}};
  BOOST_TEST(description.full_ranks().at(rank_of(ModuleKind::v)) == 2);
  WeightingRows<double> weighting(description);
  weighting.set(4);
  const auto rows = weighting.rows().view(3);
  BOOST_TEST(rows.q.columns() == 4);
  BOOST_TEST(rows.v.columns() == 2);
  BOOST_TEST(rows.v(2, 1) == 0.5);  // its own s_2, not s_4
  BOOST_TEST(rows.q(2, 1) == 0.25);
  BOOST_TEST(rows.down.columns() == 0);
  weighting.set(8, Inference::weighted);
  BOOST_TEST(weighting.rows().view(1).v(0, 0) == 1.5);  // p of {1, 2}: 1 + 1/2
  BOOST_TEST(weighting.rows().view(1).q(0, 0) == 1.875);
  const std::vector<int> ranks{1, 8};
  const std::vector<std::int32_t> offsets{0, 1, 2};
  weighting.set(ranks, offsets);
  const auto both = weighting.rows().view(2);
  BOOST_TEST(both.v.columns() == 2);
  BOOST_TEST(both.v(0, 0) == 1);
  BOOST_TEST(both.v(0, 1) == 0);
  BOOST_TEST(both.v(1, 1) == 0.5);
}

BOOST_AUTO_TEST_CASE(other_ranks_are_refused) {
  WeightingRows<double> weighting(nested(Scaling::none));
  for (const int r : {-1, 9})
    expect_refusal<UsageError>([&] { weighting.set(r); }, "rank " + std::to_string(r) + ": the adapter has ranks 1 to 8");
  AdapterDescription plain = nested(Scaling::none);
  plain.kind = AdapterKind::lora;
  WeightingRows<double> lora(plain);
  expect_refusal<UsageError>([&] { lora.set(2, Inference::weighted); }, "of kind lora");
}
