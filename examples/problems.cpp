// Where does the quickstart's data come from? From here: generated grade-school word problems in GSM8K's form.
//   cmake --build build/release --target problems
//   build/release/bin/problems --kind reversed --split train --count 2000 --output train.jsonl
// Prints the first problem. No question is ever both training and test material, whatever the seed.
#include <algorithm>
#include <linden/data/word_problems.hpp>

#include "support/cli.hpp"

namespace {
using namespace linden;

struct Arguments {
  std::string kind = "reversed", split = "train", output;
  std::size_t count = 1000, skip = 0;
  std::uint64_t seed = 1;
};

void write(const Arguments& a) {
  const ProblemKind kinds[] = {problem_kind(a.kind)};
  auto problems = make_problems(kinds, a.skip + a.count, a.seed, a.split == "test" ? ProblemSplit::test : ProblemSplit::train);
  problems.erase(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(a.skip));
  write_jsonl(a.output, problems);
  std::cout << "Question: " << problems[0].question << "\nAnswer: " << problems[0].answer << "\n";
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes word problems as JSON lines.");
  Arguments a;
  app.add_option("--kind", a.kind, "kind of problem")->capture_default_str();
  app.add_option("--split", a.split)->capture_default_str()->check(CLI::IsMember({"train", "test"}));
  app.add_option("--count", a.count, "how many")->capture_default_str()->check(linden::examples::whole_number(1));
  app.add_option("--skip", a.skip, "leave out so many first ones")->capture_default_str()->check(linden::examples::whole_number(0));
  app.add_option("--seed", a.seed)->capture_default_str()->check(linden::examples::seed_number());
  app.add_option("--output", a.output, "file to write")->required();
  return linden::examples::run_program(argc, argv, app, [&] { write(a); });
}
