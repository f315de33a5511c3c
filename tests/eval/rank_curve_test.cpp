#define BOOST_TEST_MODULE rank_curve
#include <linden/eval/rank_curve.hpp>
//
#include <linden/model/checkpoint.hpp>

#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;
namespace utf = boost::unit_test;

struct Small {
  static constexpr const char* name = "small";
  static constexpr long hidden = 16, intermediate = 24, layers = 2, heads = 4, kv_heads = 2, head_size = 4;
  static constexpr long vocabulary = 19, positions = 32;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};

const Llama<Small, double>& model() {
  static const auto random = Llama<Small, double>::random(5, 0.4);
  return random;
}

LlamaAdapter<Small, double> adapter(AdapterKind kind, Scaling scaling) {
  AdapterDescription description;
  description.kind = kind;
  description.scaling = scaling;
  description.full_rank = 4;
  description.train_ranks = RankSet{1, 2, 4};
  LlamaAdapter<Small, double> made(description);
  NormalRandom normal(9);
  for (double& parameter : made.parameters()) parameter = 0.3 * normal();
  return made;
}

std::vector<Sample> samples() {
  PythonRandom random(2);
  std::vector<Sample> list;
  for (long i = 0; i < 7; ++i) {
    Sample sample{{1}, {Sample::ignored}, i};
    for (long t = 0; t < 3 + 2 * i; ++t) {
      sample.ids.push_back(static_cast<std::int32_t>(random.below(19)));
      sample.labels.push_back(t == 1 ? Sample::ignored : sample.ids.back());
    }
    list.push_back(sample);
  }
  return list;
}
}  // namespace

// The mean is over tokens, so how the samples are put into batches changes nothing.
BOOST_AUTO_TEST_CASE(scores_do_not_depend_on_the_batch) {
  const auto a = adapter(AdapterKind::lora, Scaling::sqrt);
  const auto row = inference_row<double>(a.description(), 2, Inference::prefix);
  const auto data = samples();
  const TokenScores all = RankEvaluator<Small, double>(model(), 100).token_scores(a, row, data);
  for (const std::size_t batch : {1U, 2U, 3U}) {
    const TokenScores cut = RankEvaluator<Small, double>(model(), batch).token_scores(a, row, data);
    BOOST_TEST(cut.loss == all.loss, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(cut.accuracy == all.accuracy, boost::test_tools::tolerance(1e-12));
  }
  BOOST_TEST(all.accuracy >= 0.0);
  BOOST_TEST(all.accuracy <= 1.0);
}

// A LoRA of rank 2 made of the first columns and rows of a rank-4 one is that one read at rank 2.
BOOST_AUTO_TEST_CASE(a_rank_reads_the_prefix_alone) {
  auto whole = adapter(AdapterKind::dylora, Scaling::rank);
  AdapterDescription narrow_description = whole.description();
  narrow_description.full_rank = 2;
  narrow_description.train_ranks = RankSet{1, 2};
  LlamaAdapter<Small, double> narrow(narrow_description);
  for (std::size_t l = 0; l < 2; ++l)
    for_each_leaf_pair(narrow.factors().layers[l], whole.factors().layers[l], [](const auto& to, const auto& from) {
      for (long i = 0; i < to.rows(); ++i)
        for (long j = 0; j < to.columns(); ++j) to(i, j) = from(i, j);
    });
  RankEvaluator<Small, double> evaluator(model());
  const auto data = samples();
  for (const int r : {1, 2}) {
    const auto row = inference_row<double>(whole.description(), r, Inference::prefix);
    BOOST_TEST(evaluator.token_scores(whole, row, data).loss == evaluator.token_scores(narrow, row, data).loss,
               boost::test_tools::tolerance(1e-12));
  }
}

BOOST_AUTO_TEST_CASE(rows_of_inference) {
  AdapterDescription description;
  description.kind = AdapterKind::matryoshka;
  description.full_rank = 8;
  description.train_ranks = RankSet{1, 2, 4, 8};
  BOOST_TEST(inference_row<double>(description, 3, Inference::prefix) == (std::vector<double>{1, 1, 1}),
             boost::test_tools::per_element());
  BOOST_TEST(inference_row<double>(description, 5, Inference::weighted) == (std::vector<double>{4, 3, 2, 2, 1}),
             boost::test_tools::per_element());
  description.scaling = Scaling::rank;
  BOOST_TEST(inference_row<double>(description, 2, Inference::prefix) == (std::vector<double>{0.5, 0.5}),
             boost::test_tools::per_element());
  BOOST_CHECK_THROW(inference_row<double>(description, 9, Inference::prefix), UsageError);
  BOOST_CHECK_THROW(inference_row<double>(description, 0, Inference::prefix), UsageError);
  description.kind = AdapterKind::lora;
  BOOST_CHECK_THROW(inference_row<double>(description, 2, Inference::weighted), UsageError);
}

BOOST_AUTO_TEST_CASE(nothing_to_measure_is_refused) {
  const auto a = adapter(AdapterKind::lora, Scaling::none);
  auto data = samples();
  for (Sample& sample : data) std::ranges::fill(sample.labels, Sample::ignored);
  const std::vector<double> row{0};
  BOOST_CHECK_THROW((RankEvaluator<Small, double>(model()).token_scores(a, row, data)), UsageError);
}

// Greedy text of the real checkpoint counts as right exactly when its "#### n" is the expected one.
BOOST_AUTO_TEST_CASE(exact_match_compares_the_final_answers,
                     *utf::precondition(needs_shared("models/stories260K"))) {
  const auto folder = shared_folder() / "models/stories260K";
  const auto stories = load_llama<Stories260K, float>(folder);
  const auto tokenizer = Tokenizer::load(folder);
  const LlamaAdapter<Stories260K, float> none{AdapterDescription{}};
  const std::vector<float> row{0.0F};
  RankEvaluator<Stories260K, float> evaluator(stories, 2);
  GenerateOptions options;
  options.max_tokens = 5;
  // A story teller says no "#### n": its invalid answer never equals a valid one.
  const std::vector<Example> examples(3, question_example("What is 2 + 2?", "2 + 2 = 4\n#### 4", 0));
  BOOST_TEST(evaluator.exact_match(none, row, examples, tokenizer, options) == 0.0);
  BOOST_CHECK_THROW(evaluator.exact_match(none, row, {}, tokenizer, options), UsageError);
}
