#pragma once
/// \file
/// Small grade-school word problems in the style of GSM8K, made from templates: enough to pretrain a very small Llama
/// on some kinds and to fine-tune adapters on a kind it never saw.
/// Units    whole numbers 0..20, intermediate results included.
/// Format   question in one line; answer "5 + 3 = 8\n#### 8", one equation a line, the result after "#### ".
/// Split    the hash of a question says whether it is training or test material, so no question is both, whatever the
///          seed; about one in five is test.
/// Errors   UsageError for an impossible request; DataError for a file that cannot be written.
/// Repeats  the same seed gives the same problems on every platform.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/atomic_write.hpp>
#include <linden/core/error.hpp>
#include <linden/core/random.hpp>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace linden {

/// What happens in a problem. The last two are held out: other wording, and their own style of answer.
enum class ProblemKind {
  buying,         ///< a + b
  giving,         ///< a - b
  sharing,        ///< a / b, without remainder
  grouping,       ///< a * b
  reading,        ///< a + b, pages on two days
  ages,           ///< a + b or a - b, two people
  comparing,      ///< a - b, how many more
  two_steps,      ///< a + b - c
  reversed,       ///< held out: the start from the change and the end, the unknown written as "?"
  three_numbers,  ///< held out, harder: the largest of three less the smallest
};

/// One problem; `answer` is in GSM8K format.
struct WordProblem {
  ProblemKind kind;      ///< what is asked for
  std::string question;  ///< the text
  std::string answer;    ///< the way and, behind ####, the number
};

/// Which problems to make: those for training, or those for testing.
enum class ProblemSplit { train, test };

/// The kinds to pretrain on.
[[nodiscard]] inline std::span<const ProblemKind> pretraining_kinds() {
  static constexpr std::array kinds{ProblemKind::buying,    ProblemKind::giving,   ProblemKind::sharing,
                                    ProblemKind::grouping,  ProblemKind::reading,  ProblemKind::ages,
                                    ProblemKind::comparing, ProblemKind::two_steps};
  return kinds;
}

/// The kinds to fine-tune on, easier first.
[[nodiscard]] inline std::span<const ProblemKind> held_out_kinds() {
  static constexpr std::array kinds{ProblemKind::reversed, ProblemKind::three_numbers};
  return kinds;
}

/// The name of a kind, as its enumerator is spelled.
[[nodiscard]] inline std::string_view kind_name(ProblemKind kind) {
  static constexpr std::array<std::string_view, 10> names{"buying",   "giving",       "sharing",   "grouping",
                                                          "reading",  "ages",         "comparing", "two_steps",
                                                          "reversed", "three_numbers"};
  return names.at(static_cast<std::size_t>(kind));
}

/// The kind of that name; UsageError if there is none.
[[nodiscard]] inline ProblemKind problem_kind(std::string_view wanted) {
  for (const auto kinds : {pretraining_kinds(), held_out_kinds()})
    for (const ProblemKind kind : kinds)
      if (kind_name(kind) == wanted) return kind;
  throw UsageError(text("linden::problem_kind: there is no kind \"", wanted, "\""));
}

/// The side of the split a question is on.
[[nodiscard]] inline ProblemSplit split_of(std::string_view question) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a, then mixed: its low bits alone are weak
  for (const char c : question) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdULL;
  return (hash >> 32U) % 5 == 0 ? ProblemSplit::test : ProblemSplit::train;
}

namespace detail {

/// Draws the parts of one problem and words it.
class ProblemWriter {
 public:
  explicit ProblemWriter(PythonRandom& random) : random_(random) {
    const std::size_t first = random_.below(people.size());
    const std::size_t second = random_.below(people.size() - 1);
    who_ = people[first];
    other_ = people[second + (second >= first ? 1 : 0)];
    what_ = things[random_.below(things.size())];
  }

  WordProblem write(ProblemKind kind) {
    switch (kind) {
      case ProblemKind::buying:
        return buying();
      case ProblemKind::giving:
        return giving();
      case ProblemKind::sharing:
        return sharing();
      case ProblemKind::grouping:
        return grouping();
      case ProblemKind::reading:
        return reading();
      case ProblemKind::ages:
        return ages();
      case ProblemKind::comparing:
        return comparing();
      case ProblemKind::two_steps:
        return two_steps();
      case ProblemKind::reversed:
        return reversed();
      case ProblemKind::three_numbers:
        return three_numbers();
    }
    throw UsageError(text("linden::make_problem: there is no kind ", static_cast<int>(kind)));
  }

 private:
  static constexpr long largest = 20;

  struct Person {
    std::string_view name, he, capital_he;
  };
  static constexpr std::array<Person, 12> people{{{"Tom", "he", "He"},
                                                  {"Ben", "he", "He"},
                                                  {"Sam", "he", "He"},
                                                  {"Max", "he", "He"},
                                                  {"Dan", "he", "He"},
                                                  {"Leo", "he", "He"},
                                                  {"Ann", "she", "She"},
                                                  {"Mia", "she", "She"},
                                                  {"Lily", "she", "She"},
                                                  {"Sue", "she", "She"},
                                                  {"Eva", "she", "She"},
                                                  {"Zoe", "she", "She"}}};
  static constexpr std::array<std::string_view, 12> things{"apples", "books", "balls",  "cards",  "pens",  "cakes",
                                                           "eggs",   "toys",  "stamps", "shells", "coins", "pears"};

  long between(long low, long high) { return static_cast<long>(random_.between(low, high)); }
  bool coin() { return random_.below(2) == 0; }

  static std::string equation(long a, char sign, long b, long result) {
    return text(a, " ", sign, " ", b, " = ", result, "\n");
  }
  static std::string final_line(long result) { return text("#### ", result); }

  /// A sum that stays in range, of two numbers that take a plural ("2 apples").
  struct Sum {
    long a, b, total;
  };
  Sum sum() {
    const long total = between(4, largest), a = between(2, total - 2);
    return {a, total - a, total};
  }

  WordProblem buying() {
    const auto [a, b, total] = sum();
    const std::string_view verb = coin() ? "buys" : "finds";
    return {ProblemKind::buying,
            text(who_.name, " has ", a, " ", what_, ". ", who_.capital_he, " ", verb, " ", b, " more. How many ", what_,
                 " does ", who_.he, " have now?"),
            equation(a, '+', b, total) + final_line(total)};
  }

  WordProblem giving() {
    const auto [left, given, total] = sum();
    const std::string gives = coin() ? text("gives ", given, " to ", other_.name) : text("loses ", given);
    return {ProblemKind::giving,
            text(who_.name, " has ", total, " ", what_, ". ", who_.capital_he, " ", gives, ". How many ", what_,
                 " are left?"),
            equation(total, '-', given, left) + final_line(left)};
  }

  WordProblem sharing() {
    const long friends = between(2, 5), each = between(1, largest / friends), total = friends * each;
    return {ProblemKind::sharing,
            text(who_.name, " shares ", total, " ", what_, " equally with ", friends, " friends. How many ", what_,
                 " does each friend get?"),
            equation(total, '/', friends, each) + final_line(each)};
  }

  WordProblem grouping() {
    const long groups = between(2, 10), each = between(2, largest / groups), total = groups * each;
    const std::string_view holder = coin() ? "boxes" : "bags";
    return {ProblemKind::grouping,
            text(who_.name, " has ", groups, " ", holder, " with ", each, " ", what_, " in each. How many ", what_,
                 " are there in all?"),
            equation(groups, '*', each, total) + final_line(total)};
  }

  WordProblem reading() {
    static constexpr std::array<std::string_view, 4> days{"Monday", "Tuesday", "Friday", "Sunday"};
    const auto [a, b, total] = sum();
    const std::size_t first = random_.below(days.size() - 1);
    const std::size_t second = first + 1 + random_.below(days.size() - 1 - first);
    return {ProblemKind::reading,
            text(who_.name, " reads ", a, " pages on ", days[first], " and ", b, " pages on ", days[second],
                 ". How many pages does ", who_.he, " read in all?"),
            equation(a, '+', b, total) + final_line(total)};
  }

  WordProblem ages() {
    const auto [a, b, total] = sum();
    const bool older = coin();
    const long known = older ? a : total, asked = older ? total : a;
    return {ProblemKind::ages,
            text(who_.name, " is ", known, " years old. ", other_.name, " is ", b, " years ",
                 older ? "older" : "younger", ". How old is ", other_.name, "?"),
            equation(known, older ? '+' : '-', b, asked) + final_line(asked)};
  }

  WordProblem comparing() {
    const auto [a, b, total] = sum();
    return {ProblemKind::comparing,
            text(who_.name, " has ", total, " ", what_, " and ", other_.name, " has ", a, ". How many more does ",
                 who_.name, " have?"),
            equation(total, '-', a, b) + final_line(b)};
  }

  WordProblem two_steps() {
    const auto [a, b, total] = sum();
    const long given = between(1, total), left = total - given;
    return {ProblemKind::two_steps,
            text(who_.name, " has ", a, " ", what_, ". ", who_.capital_he, " buys ", b, " more and gives ", given,
                 " to ", other_.name, ". How many ", what_, " are left?"),
            equation(a, '+', b, total) + equation(total, '-', given, left) + final_line(left)};
  }

  WordProblem reversed() {
    const auto [a, b, total] = sum();
    const bool got = coin();
    const long before = got ? a : total, after = got ? total : a;
    return {ProblemKind::reversed,
            text(who_.name, " had some ", what_, ". ", who_.capital_he, got ? " got " : " gave ", b,
                 got ? " more" : " away", " and now has ", after, ". How many did ", who_.he, " have at first?"),
            text("? ", got ? '+' : '-', " ", b, " = ", after, "\n") + equation(after, got ? '-' : '+', b, before) +
                final_line(before)};
  }

  WordProblem three_numbers() {
    const long most = between(4, largest), least = between(2, most - 2), middle = between(least + 1, most - 1);
    const std::string_view third = third_person().name;
    std::array<long, 3> n{most, middle, least};
    random_.shuffle(std::span<long>(n));
    return {ProblemKind::three_numbers,
            text(who_.name, " has ", n[0], " ", what_, ". ", other_.name, " has ", n[1], ". ", third, " has ", n[2],
                 ". How many more is most than least?"),
            text("most ", most, " least ", least, "\n") + equation(most, '-', least, most - least) +
                final_line(most - least)};
  }

  Person third_person() {
    Person third = people[random_.below(people.size())];
    while (third.name == who_.name || third.name == other_.name) third = people[random_.below(people.size())];
    return third;
  }

  PythonRandom& random_;
  Person who_, other_;
  std::string_view what_;
};

}  // namespace detail

/// One problem of a kind, of either split.
[[nodiscard]] inline WordProblem make_problem(ProblemKind kind, PythonRandom& random) {
  return detail::ProblemWriter(random).write(kind);
}

/// `count` problems with different questions, kinds drawn uniformly from `kinds`, all of one split.
[[nodiscard]] inline std::vector<WordProblem> make_problems(std::span<const ProblemKind> kinds, std::size_t count,
                                                            std::uint64_t seed, ProblemSplit split) {
  if (kinds.empty()) throw UsageError("linden::make_problems: no kinds, expected at least one");
  PythonRandom random(seed);
  std::vector<WordProblem> problems;
  std::unordered_set<std::string> questions;
  constexpr int patience = 10000;  // draws in a row without a new question: the templates are used up
  for (int misses = 0; problems.size() < count;) {
    WordProblem problem = make_problem(kinds[random.below(kinds.size())], random);
    if (split_of(problem.question) == split && questions.insert(problem.question).second) {
      problems.push_back(std::move(problem));
      misses = 0;
    } else if (++misses == patience) {
      throw UsageError(
          text("linden::make_problems: these kinds give about ", problems.size(), " different questions, not ", count));
    }
  }
  return problems;
}

/// Writes problems as rows {"question", "answer"}, for read_jsonl. The file is complete or not there.
inline void write_jsonl(const std::filesystem::path& path, std::span<const WordProblem> problems) {
  std::string rows;
  for (const WordProblem& problem : problems)
    rows += nlohmann::ordered_json{{"question", problem.question}, {"answer", problem.answer}}.dump() + "\n";
  write_atomically(path, rows);
}

}  // namespace linden
