#define BOOST_TEST_MODULE bf16_reference
#include <linden/train/bf16_reference.hpp>
//
#include <linden/train/fine_tune.hpp>

#include "train/adapted_model.hpp"

namespace {
using namespace linden;
using namespace linden::test;

std::vector<Sample> samples() {
  std::vector<Sample> list;
  for (long i = 0; i < 6; ++i) {
    Sample sample{{1, 2, 3, 4, 5, static_cast<std::int32_t>(i % 7)}, {}, i};
    sample.labels = sample.ids;
    list.push_back(sample);
  }
  return list;
}

FineTuneOptions options(AdapterKind kind, Precision precision) {
  FineTuneOptions o;
  o.adapter.kind = kind;
  o.adapter.full_rank = 4;
  o.adapter.train_ranks = RankSet{1, 2, 4};
  o.learning_rate = 1e-2;
  o.steps = 4;
  o.batch = 2;
  o.accumulate = 2;
  o.precision = precision;
  return o;
}

bool all_bf16(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return rounded_to_bf16(value) == value; });
}
}  // namespace

BOOST_AUTO_TEST_CASE(rounds_to_nearest) {
  BOOST_TEST(rounded_to_bf16(1.0F + 0x1p-8F) == 1.0F);  // a tie goes to even
  BOOST_TEST(rounded_to_bf16(1.0F + 0x1.8p-8F) == 1.0F + 0x1p-7F);
  std::vector<float> values{1.0F + 0x1p-9F, 3.0F};
  round_to_bf16(std::span(values));
  BOOST_TEST(values == (std::vector<float>{1, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(parameters_are_bfloat16_after_every_step_and_learn) {
  const auto model = Llama<Tiny, float>::random(3, 0.3);
  const auto data = samples();
  for (const AdapterKind kind : {AdapterKind::lora, AdapterKind::dylora, AdapterKind::matryoshka, AdapterKind::stratified}) {
    FineTuner<Tiny, float> reference(model, data, options(kind, Precision::bf16_reference));
    FineTuner<Tiny, float> masters(model, data, options(kind, Precision::fp32));
    BOOST_TEST(all_bf16(reference.adapter().parameters()));
    double first = 0, last = 0, last_masters = 0;
    while (!reference.finished()) {
      last = reference.step().loss;
      last_masters = masters.step().loss;
      if (first == 0) first = last;
      BOOST_TEST(all_bf16(reference.adapter().parameters()));
    }
    BOOST_TEST(last < first);
    BOOST_TEST(std::abs(last - last_masters) < 0.02 * last);
    BOOST_TEST(!std::ranges::equal(reference.adapter().parameters(), masters.adapter().parameters()));
  }
}

// An update below half a unit in the last place does not happen: at 1e-4 the larger elements of A stay, those of B move.
BOOST_AUTO_TEST_CASE(small_updates_are_lost) {
  const auto model = Llama<Tiny, float>::random(3, 0.3);
  const auto data = samples();
  FineTuneOptions o = options(AdapterKind::lora, Precision::bf16_reference);
  o.learning_rate = 1e-4;
  o.adapter.train_ranks = RankSet{4};
  FineTuner<Tiny, float> tuner(model, data, o);
  const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
  while (!tuner.finished()) tuner.step();
  const auto after = tuner.adapter().parameters();
  std::size_t kept = 0, moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (std::abs(before[i]) > 0.06F) kept += after[i] == before[i] ? 1 : 0, moved += after[i] != before[i] ? 1 : 0;
  }
  BOOST_TEST(kept > 10U);
  BOOST_TEST(moved == 0U);
}

BOOST_AUTO_TEST_CASE(gradients_of_a_pass_through_p_twice_rounded) {
  using Factors = AdapterFactors<Tiny, float>;
  std::vector<float> flat = values<float>(static_cast<std::size_t>(Factors::count(R)), 7, 1), sum(flat.size(), 0.25F);
  const std::vector<float> original = flat, p{3, 1.5F, 0.3F};
  const Factors micro(flat.data(), R);
  const RankRows<float> rows(p.data(), R, 0);
  accumulate_as_reference<Tiny, float>(flat, micro, rows, true, sum);
  std::size_t at = 0;
  Factors named(flat.data(), R);
  named.for_each([&](const std::string& name, auto view) {
    for (std::size_t i = 0; i < view.size(); ++i, ++at) {
      float expected = rounded_to_bf16(original[at]);
      if (name.ends_with("lora_A")) expected = rounded_to_bf16(expected * p[i % 3]);
      BOOST_TEST(sum[at] == rounded_to_bf16(0.25F + expected));
    }
  });
  BOOST_TEST(at == sum.size());
}

BOOST_AUTO_TEST_CASE(clipping_by_rounded_norms) {
  using Factors = AdapterFactors<Tiny, double>;
  std::vector<double> flat(static_cast<std::size_t>(Factors::count(R)), 0.0);
  flat[0] = 3;
  flat.back() = 4;
  BOOST_TEST(clip_as_reference(Factors(flat.data(), R), std::span(flat), 10) == 5);
  BOOST_TEST(flat[0] == 3);
  BOOST_TEST(clip_as_reference(Factors(flat.data(), R), std::span(flat), 1) == 5);
  BOOST_TEST(flat[0] == rounded_to_bf16(3 * rounded_to_bf16(0.2)));
}
