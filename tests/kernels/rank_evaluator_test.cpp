#define BOOST_TEST_MODULE kernels_rank_evaluator
#include <linden/eval/rank_evaluator.hpp>

#include "../../kernels/llama.cuh"
#include "kernels/kernel_test.hpp"
#include "support/small_llama.hpp"

using namespace linden;
using namespace linden::test;

namespace {

template <class T>
using DeviceEvaluator = RankEvaluator<Small, T, cuda::OnDevice, cuda::DeviceLlama<Small, T>>;

const Llama<Small, float>& model() {
  static const auto random = Llama<Small, float>::random(5, 0.4);
  return random;
}
const LlamaAdapter<Small, float>& adapter() {
  static const auto random = [] {
    LlamaAdapter<Small, float> made({.kind = AdapterKind::dylora, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}});
    NormalRandom normal(9);
    for (float& parameter : made.parameters()) parameter = 0.3F * static_cast<float>(normal());
    return made;
  }();
  return random;
}
const std::vector<int> ranks{0, 1, 3, 4};

/// Samples of 1 to 7 tokens, two to a document.
std::vector<std::vector<Sample>> documents() {
  PythonRandom random(2);
  std::vector<std::vector<Sample>> list;
  for (long d = 0; d < 3; ++d) {
    list.emplace_back();
    for (long s = 0; s < 2; ++s) {
      Sample sample{{1}, {Sample::ignored}, d};
      for (long t = 0; t < 3 * d + s; ++t) {
        sample.ids.push_back(static_cast<std::int32_t>(random.below(Small::vocabulary)));
        sample.labels.push_back(sample.ids.back());
      }
      list.back().push_back(sample);
    }
  }
  return list;
}

const EvaluationOptions options{.cache_bytes = 1 << 14, .chunk = 9};

template <class T>
void check_scores(double tolerance) {
  const auto asked = documents();
  cuda::Device device;
  DeviceEvaluator<T> there(cuda::DeviceLlama<Small, T>(model(), device), adapter(), options, cuda::OnDevice(device));
  RankEvaluator<Small, float> here(model(), adapter(), options);
  const auto found = there.total(asked, ranks), expected = here.total(asked, ranks);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    BOOST_TEST(std::abs(found[r].loss - expected[r].loss) < tolerance * expected[r].loss, "rank " << ranks[r]);
    BOOST_TEST(found[r].targets == expected[r].targets);
    if (sizeof(T) == sizeof(float)) BOOST_TEST(found[r].correct == expected[r].correct);
  }
}

template <class Evaluator>
std::vector<std::vector<std::int32_t>> texts(Evaluator& evaluator, GenerateOptions generation) {
  const std::vector<std::vector<std::int32_t>> prompts{{1}, {4, 2, 7, 7, 3}, {5, 1}};
  generation.max_tokens = 4;
  std::vector<std::vector<std::int32_t>> out(prompts.size() * ranks.size());
  evaluator.generate(prompts, ranks, generation, [&](std::size_t prompt, std::size_t rank, const std::vector<std::int32_t>& ids) {
    out[prompt * ranks.size() + rank] = ids;
  });
  return out;
}
}  // namespace

BOOST_AUTO_TEST_CASE(scores_of_every_rank_in_float) { check_scores<float>(1e-5); }
BOOST_AUTO_TEST_CASE(scores_of_every_rank_in_bfloat16) { check_scores<bfloat16>(2e-2); }

BOOST_AUTO_TEST_CASE(texts_in_bfloat16_come_again) {
  cuda::Device device;
  DeviceEvaluator<bfloat16> there(cuda::DeviceLlama<Small, bfloat16>(model(), device), adapter(), options, cuda::OnDevice(device));
  const auto first = texts(there, {});
  for (const auto& ids : first) BOOST_TEST(ids.size() == 4U);
  BOOST_TEST((texts(there, {}) == first));
}

BOOST_AUTO_TEST_CASE(texts_of_every_rank) {
  cuda::Device device;
  DeviceEvaluator<float> there(cuda::DeviceLlama<Small, float>(model(), device), adapter(), options, cuda::OnDevice(device));
  RankEvaluator<Small, float> here(model(), adapter(), options);
  BOOST_TEST((texts(there, {}) == texts(here, {})));
  BOOST_TEST((texts(there, {.temperature = 0.7}) == texts(here, {.temperature = 0.7})));
}
