#define BOOST_TEST_MODULE rank_evaluator
#include <linden/eval/rank_evaluator.hpp>
//
#include <linden/train/llama_pass.hpp>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"
#include "support/small_llama.hpp"

namespace {
using namespace linden;
using namespace linden::test;

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

using Evaluator = RankEvaluator<Small, double>;
const std::vector<int> all_ranks{0, 1, 2, 3, 4};

/// A sample of `length` random tokens behind `context`; those of the context are not scored.
Sample continued(const std::vector<std::int32_t>& context, long length, PythonRandom& random) {
  Sample sample{context, std::vector<std::int32_t>(context.size(), Sample::ignored), 0};
  for (long t = 0; t < length; ++t) {
    sample.ids.push_back(static_cast<std::int32_t>(random.below(19)));
    sample.labels.push_back(sample.ids.back());
  }
  return sample;
}

/// Questions of 1 to 4 choices with a common context, and plain samples.
std::vector<Evaluator::Document> documents() {
  PythonRandom random(2);
  std::vector<Evaluator::Document> list;
  for (long d = 0; d < 9; ++d) {
    const Sample context = continued({1}, 1 + 2 * d, random);
    Evaluator::Document document;
    for (long choice = 0; choice <= d % 4; ++choice)
      document.push_back(continued(context.ids, 1 + static_cast<long>(random.below(6)), random));
    list.push_back(document);
  }
  list[2][0] = continued({4}, 32, random);    // one token more than the model has positions
  list[3][1] = continued({2, 3}, 4, random);  // a choice that shares nothing
  list[5].push_back(list[5].back());          // and one that shares everything
  return list;
}

/// The score of one sample at one rank by the training pass, one sequence at a time.
SampleScore reference(const LlamaAdapter<Small, double>& adapter, const Sample& sample, int r, Inference inference) {
  AdapterPass<Small, double> pass;
  Batch batch;
  batch.append(sample, 33);
  if (batch.tokens() == 33) {  // the last token is only a target
    for (auto* column : {&batch.ids, &batch.targets, &batch.positions}) column->pop_back();
    batch.offsets.back() = 32;
  }
  WeightingRows<double> weighting(adapter.description());
  weighting.set(r, inference);
  std::vector<double> losses(batch.tokens()), correct(batch.tokens());
  pass.score(model(), adapter.factors(), weighting.rows(), batch, losses, correct);
  SampleScore score{0, 0, batch.counted};
  for (const double loss : losses) score.loss += loss;
  for (const double right : correct) score.correct += right > 0 ? 1 : 0;
  return score;
}

std::vector<std::vector<SampleScore>> scores(Evaluator& evaluator, const std::vector<Evaluator::Document>& data,
                                             const std::vector<int>& ranks) {
  std::vector<std::vector<SampleScore>> all(data.size());
  evaluator.score(data, ranks, [&](std::size_t document, std::span<const SampleScore> found) {
    BOOST_TEST(all[document].empty());  // reported once
    all[document].assign(found.begin(), found.end());
  });
  return all;
}
}  // namespace

// All ranks together, contexts shared, through caches and chunks of any size: the numbers of one sample at one rank.
BOOST_AUTO_TEST_CASE(every_score_is_that_of_its_sample_and_rank_alone) {
  const auto data = documents();
  for (const AdapterKind kind : {AdapterKind::lora, AdapterKind::matryoshka}) {
    const auto a = adapter(kind, Scaling::sqrt);
    const Inference inference = kind == AdapterKind::matryoshka ? Inference::weighted : Inference::prefix;
    for (const std::size_t rows : {1U, 60U, 5000U})
      for (const std::size_t chunk : {1U, 7U, 1024U}) {
        Evaluator evaluator(model(), a, {inference, rows * CachedForward<Small, double>::bytes_per_token, chunk});
        const auto found = scores(evaluator, data, all_ranks);
        for (std::size_t d = 0; d < data.size(); ++d) {
          BOOST_REQUIRE_EQUAL(found[d].size(), data[d].size() * all_ranks.size());
          for (std::size_t k = 0; k < found[d].size(); ++k) {
            const SampleScore expected = reference(a, data[d][k / 5], all_ranks[k % 5], inference);
            BOOST_TEST(found[d][k].loss == expected.loss, boost::test_tools::tolerance(1e-11));
            BOOST_TEST(found[d][k].correct == expected.correct);
            BOOST_TEST(found[d][k].targets == expected.targets);
          }
        }
      }
  }
}

BOOST_AUTO_TEST_CASE(totals_add_up) {
  const auto data = documents();
  const auto a = adapter(AdapterKind::dylora, Scaling::none);
  Evaluator evaluator(model(), a);
  const auto each = scores(evaluator, data, {2, 4});
  const auto sums = evaluator.total(data, std::vector<int>{2, 4});
  for (std::size_t k = 0; k < 2; ++k) {
    SampleScore sum;
    for (const auto& document : each)
      for (std::size_t i = k; i < document.size(); i += 2) {
        sum.loss += document[i].loss;
        sum.correct += document[i].correct;
        sum.targets += document[i].targets;
      }
    BOOST_TEST(sums[k].loss == sum.loss, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(sums[k].correct == sum.correct);
    BOOST_TEST(sums[k].targets == sum.targets);
  }
  BOOST_TEST(sums[0].loss != sums[1].loss);
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
  const auto data = documents();
  const std::vector<int> ranks{1, 2};
  const auto of_whole = Evaluator(model(), whole).total(data, ranks), of_narrow = Evaluator(model(), narrow).total(data, ranks);
  for (std::size_t k = 0; k < 2; ++k) BOOST_TEST(of_whole[k].loss == of_narrow[k].loss, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(texts_at_all_ranks_are_those_of_each_rank) {
  const auto a = adapter(AdapterKind::lora, Scaling::none);
  const std::vector<std::vector<std::int32_t>> prompts{{1, 2, 3}, {4}, {5, 6}};
  GenerateOptions generation;
  generation.max_tokens = 6;
  Evaluator evaluator(model(), a);
  std::vector<std::vector<std::int32_t>> together(prompts.size() * all_ranks.size());
  evaluator.generate(prompts, all_ranks, generation, [&](std::size_t p, std::size_t r, const std::vector<std::int32_t>& ids) {
    together[p * all_ranks.size() + r] = ids;
  });
  for (std::size_t p = 0; p < prompts.size(); ++p)
    for (std::size_t r = 0; r < all_ranks.size(); ++r) {
      const std::vector<Prompt> one{{prompts[p], all_ranks[r]}};
      BOOST_TEST(together[p * all_ranks.size() + r] == (Generator<Small, double>(model(), a).run(one, generation)[0]),
                 boost::test_tools::per_element());
    }
  BOOST_TEST((together[0] != together[4] || together[5] != together[9]), "ranks 0 and 4 write the same");
}

BOOST_AUTO_TEST_CASE(every_pass_is_told_of) {
  const auto lora = adapter(AdapterKind::lora, Scaling::none);
  long passes = 0;
  Evaluator evaluator(model(), lora, {.chunk = 4, .on_pass = [&] { ++passes; }});
  PythonRandom random(3);
  const std::vector<Evaluator::Document> one{{continued({1}, 18, random)}};  // 18 tokens are read, the last is only a target
  const std::vector<int> ranks{0, 2};
  evaluator.score(one, ranks, [](std::size_t, std::span<const SampleScore>) {});
  BOOST_TEST(passes == 9);  // 36 tokens, 4 at a time
  passes = 0;
  evaluator.generate(std::vector<std::vector<std::int32_t>>{{1, 2, 3}}, ranks, {.max_tokens = 5},
                     [](std::size_t, std::size_t, const std::vector<std::int32_t>&) {});
  BOOST_TEST(passes >= 5);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_scored_is_refused) {
  const auto a = adapter(AdapterKind::lora, Scaling::none);
  Evaluator evaluator(model(), a);
  const auto score = [&](const std::vector<Evaluator::Document>& data, const std::vector<int>& ranks) {
    evaluator.score(data, ranks, [](std::size_t, std::span<const SampleScore>) {});
  };
  expect_refusal<UsageError>([&] { score(documents(), {5}); }, "rank 5: the adapter has ranks 1 to 4");
  expect_refusal<UsageError>([&] { score({Evaluator::Document{}}, {1}); }, "a document without samples");
  expect_refusal<UsageError>([&] { score({{Sample{{}, {}, 7}}}, {1}); }, "the sample of row 7 has 0 tokens");
  expect_refusal<UsageError>([&] { score({{Sample{{1, 2}, {1}, 7}}}, {1}); }, "has 2 tokens and 1 labels");
  const std::vector<std::int32_t> long_one(34, 1);  // 33 tokens are fine: the last is only a target
  expect_refusal<UsageError>([&] { score({{Sample{long_one, long_one, 0}}}, {1}); }, "34 tokens", "1 to 33");
}
