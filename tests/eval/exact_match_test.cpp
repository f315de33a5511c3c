#define BOOST_TEST_MODULE exact_match
#include <linden/eval/exact_match.hpp>
//
#include <linden/eval/rank_evaluator.hpp>
#include <linden/model/checkpoint.hpp>

#include "support/golden.hpp"

using namespace linden;
using namespace linden::test;

// Answers of the real checkpoint are right exactly when their "#### n" is the expected one; every one is shown.
BOOST_AUTO_TEST_CASE(compares_the_final_answers, *boost::unit_test::precondition(needs_shared("models/stories260K"))) {
  const auto folder = shared_folder() / "models/stories260K";
  const auto model = open_llama<Stories260K, float>(folder);
  const auto tokenizer = Tokenizer::load(folder);
  const LlamaAdapter<Stories260K, float> none{AdapterDescription{}};
  RankEvaluator<Stories260K, float> evaluator(model, none);
  GenerateOptions generation;
  generation.max_tokens = 12;
  // The model goes on with its prompt: one that ends in "#### 4" is no answer, so a story is always wrong ...
  const std::vector<Example> examples(3, question_example("What is 2 + 2?", "2 + 2 = 4\n#### 4", 0));
  const std::vector<int> ranks{0, 8};
  std::vector<int> seen(6);
  const auto shares = exact_match(evaluator, examples, ranks, tokenizer, generation,
                                  [&](std::size_t example, std::size_t rank, const std::string& answer, bool right) {
                                    ++seen[2 * example + rank];
                                    BOOST_TEST(!answer.empty());
                                    BOOST_TEST(right == strict_match(answer, examples[example].answer));
                                  });
  BOOST_TEST(shares == (std::vector<double>{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(seen == std::vector<int>(6, 1), boost::test_tools::per_element());
  // ... and right where the story itself is the reference: both sides lack a number, or both have the same.
  const auto story = tokenizer.decode(Generator<Stories260K, float>(model, none).run(
      std::vector<Prompt>{{tokenizer.encode(examples[0].prompt, true), 0}}, generation)[0]);
  const std::vector<Example> itself{question_example("What is 2 + 2?", story, 0)};
  const std::vector<int> base{0};
  BOOST_TEST(exact_match(evaluator, itself, base, tokenizer, generation)[0] == (strict_match(story, story) ? 1 : 0));
  BOOST_CHECK_THROW((void)exact_match(evaluator, {}, base, tokenizer, generation), UsageError);
}
