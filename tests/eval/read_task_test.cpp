#define BOOST_TEST_MODULE read_task
#include <linden/eval/read_task.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"
#include "support/golden.hpp"

using namespace linden;
using linden::test::Folder;
using linden::test::needs_shared;
using linden::test::refused;
using linden::test::shared_folder;

namespace {

std::string question(int number) {
  return text(R"({"question": "Q)", number, R"(?", "answer": "#### )", number, "\"}\n");
}

std::string situation(const std::string& context, int label) {
  return text(R"({"activity_label": "L", "ctx_a": ")", context, R"(", "ctx_b": "he", "endings": ["x", "y"], "label": )",
              label, "}\n");
}

}  // namespace

BOOST_AUTO_TEST_CASE(puts_examples_in_front_of_the_question) {
  const Folder folder;
  folder.write("train.jsonl", question(1) + "\n" + question(2) + question(3) + question(4));
  folder.write("test.jsonl", question(5) + "\r\n" + question(6));
  const Task task = read_task("gsm8k", folder.path(), 2);
  BOOST_TEST(task.size() == 2U);
  BOOST_TEST(task.shots() == 2U);
  BOOST_TEST(task.document(1).target == "#### 6");
  for (std::size_t i = 0; i < 2; ++i) {
    std::string expected;
    for (const std::size_t p : task.examples(i))
      expected += text("Question: Q", p + 1, "?\nAnswer: #### ", p + 1, "\n\n");
    BOOST_TEST(task.prompt(i) == text(expected, "Question: Q", i + 5, "?\nAnswer:"));
  }
  BOOST_TEST(task.examples(0).size() == 2U);
  refused<UsageError>([&] { return task.prompt(2); }, {"gsm8k: there is no question 2"});
  refused<UsageError>([&] { return read_task("gsm8k", folder.path(), 5); },
                      {"5 are to be drawn, but the pool has only 4"});
}

BOOST_AUTO_TEST_CASE(needs_no_pool_without_shots) {
  const Folder folder;
  folder.write("test.jsonl", question(5));
  BOOST_TEST(read_task("gsm8k", folder.path(), 0).prompt(0) == "Question: Q5?\nAnswer:");
  refused<DataError>([&] { return read_task("gsm8k", folder.path(), 1); },
                     {folder.path().string(), "task gsm8k needs train.jsonl here"});
}

BOOST_AUTO_TEST_CASE(drops_the_question_from_its_own_examples) {
  const Folder folder;
  const std::string rows = situation("a.", 0) + situation("b.", 1) + situation("c.", 0);
  folder.write("hellaswag_val.jsonl", rows);
  folder.write("hellaswag_train.jsonl", rows);
  const Task task = read_task("hellaswag", folder.path(), 2);  // all three are drawn, two stay
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(task.examples(i).size() == 2U);
    for (const std::size_t p : task.examples(i)) BOOST_TEST(p != i);
  }
  // The same text with another label is another row: it may stand there.
  folder.write("hellaswag_train.jsonl", situation("a.", 1) + situation("a.", 1) + situation("a.", 1));
  BOOST_TEST(read_task("hellaswag", folder.path(), 2).prompt(0) == "L: a. He y\n\nL: a. He y\n\nL: a. He");
}

BOOST_AUTO_TEST_CASE(prefers_the_name_of_the_split_and_takes_files_given) {
  const Folder folder;
  folder.write("hellaswag_val.jsonl", situation("a.", 0));
  const auto validation = folder.write("validation.jsonl", situation("b.", 0));
  const TaskFiles files = find_task_files(hellaswag_task, folder.path(), 0);
  BOOST_TEST(files.documents == validation);
  BOOST_TEST(files.pool.empty());
  const auto other = folder.write("other.jsonl", situation("c.", 0));
  BOOST_TEST(read_task(hellaswag_task, TaskFiles{other, {}}, 0).prompt(0) == "L: c. He");
}

BOOST_AUTO_TEST_CASE(names_file_and_line_of_what_it_refuses) {
  const Folder folder;
  const auto path = folder.write("test.jsonl", question(5) + "\n{\"question\": \"Q\"}\n").string();
  refused<DataError>([&] { return read_task("gsm8k", folder.path(), 0); },
                     {path + ", line 3: field 'answer': found nothing"});
  folder.write("test.jsonl", question(5) + "nothing\n");
  refused<DataError>([&] { return read_task("gsm8k", folder.path(), 0); }, {path + ", line 2: not JSON"});
  folder.write("test.jsonl", "[1]\n");
  refused<DataError>([&] { return read_task("gsm8k", folder.path(), 0); }, {", line 1: found [1], expected an object"});
  folder.write("test.jsonl", " \n");
  refused<DataError>([&] { return read_task("gsm8k", folder.path(), 0); }, {path + ": no rows"});
  refused<DataError>([&] { return read_task("hellaswag", folder.path(), 0); },
                     {"task hellaswag needs validation.jsonl or hellaswag_val.jsonl here"});
  refused<DataError>(
      [&] {
        return read_task(gsm8k_task, {folder.path() / "none", {}}, 0);
      },
      {"none: cannot be opened"});
  refused<UsageError>([&] { return read_task("mmlu", folder.path(), 0); },
                      {"task \"mmlu\" is not known, expected one of: gsm8k, arc_challenge, hellaswag"});
}

BOOST_AUTO_TEST_CASE(reads_the_public_gsm8k, *boost::unit_test::precondition(needs_shared("data/gsm8k"))) {
  const Task task = read_task("gsm8k", shared_folder() / "data" / "gsm8k", 3);
  BOOST_TEST(task.size() == 1319U);
  BOOST_TEST(task.pool().size() == 7473U);
  BOOST_TEST(task.examples(1)[2] == 7462U);
  BOOST_TEST(task.prompt(0).starts_with("Question: Jen and Tyler are gymnasts practicing flips."));
}

BOOST_AUTO_TEST_CASE(reads_the_public_arc_challenge,
                     *boost::unit_test::precondition(needs_shared("data/arc_challenge"))) {
  const Task task = read_task("arc_challenge", shared_folder() / "data" / "arc_challenge", 25);
  BOOST_TEST(task.size() == 1172U);
  BOOST_TEST(task.examples(0)[24] == 1108U);
  std::vector<std::size_t> golds(5), counts(6);
  for (std::size_t i = 0; i < task.size(); ++i) {
    ++golds.at(task.document(i).gold);
    ++counts.at(task.document(i).choices.size());
  }
  BOOST_TEST(golds == (std::vector<std::size_t>{266, 311, 310, 285, 0}), boost::test_tools::per_element());
  BOOST_TEST(counts[4] > 1160U);
}

BOOST_AUTO_TEST_CASE(refuses_the_joined_hellaswag, *boost::unit_test::precondition(needs_shared("data/hellaswag"))) {
  const TaskFiles files{shared_folder() / "data" / "hellaswag" / "val_1000.jsonl", {}};
  refused<DataError>([&] { return read_task(hellaswag_task, files, 0); },
                     {"val_1000.jsonl, line 1: field 'ctx_a'", "joined"});
}
