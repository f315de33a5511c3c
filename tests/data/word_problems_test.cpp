#define BOOST_TEST_MODULE word_problems
#include <linden/data/word_problems.hpp>

#include <boost/test/unit_test.hpp>
#include <linden/data/answer.hpp>
#include <linden/data/bpe_trainer.hpp>
#include <linden/data/dataset.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;

namespace {

std::vector<ProblemKind> all_kinds() {
  std::vector<ProblemKind> kinds(pretraining_kinds().begin(), pretraining_kinds().end());
  kinds.insert(kinds.end(), held_out_kinds().begin(), held_out_kinds().end());
  return kinds;
}

std::vector<long> numbers_in(const std::string& text) {
  std::vector<long> numbers;
  const std::regex number("[0-9]+");
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it)
    numbers.push_back(std::stol(it->str()));
  return numbers;
}

/// The answer of a question, worked out from its numbers alone.
long solve(const WordProblem& problem) {
  const std::vector<long> n = numbers_in(problem.question);
  const bool younger = problem.question.find("younger") != std::string::npos;
  const bool got = problem.question.find("got") != std::string::npos;
  switch (problem.kind) {
    case ProblemKind::buying:
    case ProblemKind::reading:
      return n.at(0) + n.at(1);
    case ProblemKind::giving:
    case ProblemKind::comparing:
      return n.at(0) - n.at(1);
    case ProblemKind::sharing:
      return n.at(0) / n.at(1);
    case ProblemKind::grouping:
      return n.at(0) * n.at(1);
    case ProblemKind::ages:
      return younger ? n.at(0) - n.at(1) : n.at(0) + n.at(1);
    case ProblemKind::two_steps:
      return n.at(0) + n.at(1) - n.at(2);
    case ProblemKind::reversed:
      return got ? n.at(1) - n.at(0) : n.at(1) + n.at(0);
    case ProblemKind::three_numbers:
      return std::max({n.at(0), n.at(1), n.at(2)}) - std::min({n.at(0), n.at(1), n.at(2)});
  }
  return -1;
}

long evaluate(long a, char sign, long b) {
  if (sign == '+') return a + b;
  if (sign == '-') return a - b;
  return sign == '*' ? a * b : a / b;
}

}  // namespace

BOOST_AUTO_TEST_CASE(kinds_have_names) {
  std::set<std::string_view> names;
  for (const ProblemKind kind : all_kinds()) {
    names.insert(kind_name(kind));
    BOOST_TEST((problem_kind(kind_name(kind)) == kind));
  }
  BOOST_TEST(names.size() == 10U);
  BOOST_TEST(kind_name(ProblemKind::three_numbers) == "three_numbers");
  test::refused<UsageError>([] { (void)problem_kind("juggling"); }, {"there is no kind \"juggling\""});
}

BOOST_AUTO_TEST_CASE(answers_and_equations_are_right_and_small) {
  const std::regex equation("([0-9]+) ([-+*/]) ([0-9]+) = ([0-9]+)\n");
  PythonRandom random(7);
  for (const ProblemKind kind : all_kinds())
    for (int i = 0; i < 200; ++i) {
      const WordProblem problem = make_problem(kind, random);
      BOOST_TEST_CONTEXT(problem.question << "\n" << problem.answer) {
        BOOST_TEST((problem.kind == kind));
        BOOST_TEST(final_answer(problem.answer) == std::to_string(solve(problem)));
        for (const long n : numbers_in(problem.question + problem.answer)) BOOST_TEST((n >= 0 && n <= 20));
        int equations = 0;
        long last = -1;
        for (std::sregex_iterator it(problem.answer.begin(), problem.answer.end(), equation), end; it != end; ++it) {
          const std::smatch& m = *it;
          last = std::stol(m[4]);
          BOOST_TEST(evaluate(std::stol(m[1]), m[2].str()[0], std::stol(m[3])) == last);
          ++equations;
        }
        BOOST_TEST(equations == (kind == ProblemKind::two_steps ? 2 : 1));
        BOOST_TEST(final_answer(problem.answer) == std::to_string(last));
      }
    }
}

BOOST_AUTO_TEST_CASE(two_people_are_never_the_same) {
  PythonRandom random(11);
  for (int i = 0; i < 500; ++i) {
    const std::string question = make_problem(ProblemKind::comparing, random).question;
    const std::string first = question.substr(0, question.find(' '));
    BOOST_TEST(question.find("and " + first) == std::string::npos, question);
  }
}

BOOST_AUTO_TEST_CASE(one_seed_gives_one_set) {
  const auto a = make_problems(pretraining_kinds(), 50, 42, ProblemSplit::train);
  const auto b = make_problems(pretraining_kinds(), 50, 42, ProblemSplit::train);
  const auto c = make_problems(pretraining_kinds(), 50, 43, ProblemSplit::train);
  BOOST_TEST(a.size() == 50U);
  std::size_t same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    BOOST_TEST(a[i].question == b[i].question);
    BOOST_TEST(a[i].answer == b[i].answer);
    same += a[i].question == c[i].question;
  }
  BOOST_TEST(same < 3U);
  // The same on every platform: written down once.
  PythonRandom random(42);
  BOOST_TEST(make_problem(ProblemKind::reversed, random).question ==
             "Eva had some apples. She got 7 more and now has 12. How many did she have at first?");
}

BOOST_AUTO_TEST_CASE(training_and_test_questions_are_disjoint) {
  for (const ProblemKind kind : held_out_kinds()) {
    std::set<std::string> training;
    for (const auto& p : make_problems(std::span(&kind, 1), 2000, 1, ProblemSplit::train)) training.insert(p.question);
    BOOST_TEST(training.size() == 2000U);  // all different
    for (const auto& p : make_problems(std::span(&kind, 1), 500, 2, ProblemSplit::test)) {
      BOOST_TEST(!training.contains(p.question));
      BOOST_TEST((split_of(p.question) == ProblemSplit::test));
    }
  }
  PythonRandom random(3);
  int in_test = 0;
  for (int i = 0; i < 2000; ++i)
    in_test += split_of(make_problem(ProblemKind::buying, random).question) == ProblemSplit::test;
  BOOST_TEST((in_test > 320 && in_test < 480), in_test << " of 2000, expected about 400");
}

BOOST_AUTO_TEST_CASE(problems_are_short_at_a_vocabulary_of_512) {
  std::vector<std::string> texts;
  for (const auto& p : make_problems(pretraining_kinds(), 2000, 1, ProblemSplit::train)) {
    texts.push_back("Question: " + p.question + "\nAnswer: ");
    texts.push_back(p.answer);
  }
  const test::Folder folder;
  write_tokenizer(train_bpe(texts), folder.path(), 128);
  const auto tokenizer = Tokenizer::load(folder.path());
  BOOST_TEST(tokenizer.size() == 512U);
  PythonRandom random(5);
  for (const ProblemKind kind : all_kinds())
    for (int i = 0; i < 100; ++i) {
      const WordProblem p = make_problem(kind, random);
      BOOST_TEST(tokenizer.encode(p.question, false).size() + tokenizer.encode(p.answer, false).size() < 60U,
                 p.question);
    }
}

BOOST_AUTO_TEST_CASE(written_rows_read_back) {
  const test::Folder folder;
  const auto problems = make_problems(held_out_kinds(), 20, 9, ProblemSplit::test);
  write_jsonl(folder.path() / "rows.jsonl", problems);
  const auto examples = read_jsonl(folder.path() / "rows.jsonl");
  BOOST_TEST(examples.size() == problems.size());
  for (std::size_t i = 0; i < problems.size(); ++i) {
    BOOST_TEST(examples[i].question == problems[i].question);
    BOOST_TEST(examples[i].answer == problems[i].answer);
  }
  test::refused<DataError>([&] { write_jsonl(folder.path() / "absent" / "rows.jsonl", problems); },
                           {"rows.jsonl: cannot be created"});
}

BOOST_AUTO_TEST_CASE(impossible_requests_are_refused) {
  test::refused<UsageError>([] { (void)make_problems({}, 1, 1, ProblemSplit::train); }, {"no kinds"});
  const ProblemKind kind = ProblemKind::sharing;
  test::refused<UsageError>([&] { (void)make_problems(std::span(&kind, 1), 100'000, 1, ProblemSplit::test); },
                            {"different questions, not 100000"});
}
