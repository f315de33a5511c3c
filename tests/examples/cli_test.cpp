#define BOOST_TEST_MODULE examples_cli
#include "support/cli.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <initializer_list>
#include <new>
#include <sstream>

#include "support/thread_processes.hpp"

namespace {

using linden::examples::add_list;
using linden::examples::parse_list;
using linden::examples::run_program;

struct Ended {
  int status;
  std::string out, err;
};

/// What a program prints and returns for these arguments.
template <class Body>
Ended run(CLI::App& app, std::vector<const char*> arguments, Body body) {
  arguments.insert(arguments.begin(), "/opt/bin/finetune");
  std::ostringstream out, err;
  const int status = run_program(static_cast<int>(arguments.size()), arguments.data(), app, body, out, err);
  return {status, out.str(), err.str()};
}

template <class Thrown>
Ended run_throwing(const Thrown& thrown) {
  CLI::App app;
  return run(app, {}, [&] { throw thrown; });
}

auto says(std::string expected) {
  return [expected](const linden::UsageError& error) { return error.what() == expected; };
}

}  // namespace

BOOST_AUTO_TEST_CASE(lists_are_read_whole) {
  const std::vector<int> ranks{4, 8, 16}, negative{-1};
  const std::vector<double> rates{1e-4, 0.5};
  BOOST_TEST(parse_list<int>("4,8,16") == ranks, boost::test_tools::per_element());
  BOOST_TEST(parse_list<int>("-1") == negative, boost::test_tools::per_element());
  BOOST_TEST(parse_list<double>("1e-4,0.5") == rates, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(items_that_are_no_numbers_are_named) {
  const auto refused = [](const char* list, const char* message) {
    BOOST_CHECK_EXCEPTION((void)parse_list<int>(list), linden::UsageError, says(message));
  };
  refused("4,eight", R"("eight" in "4,eight" is not a whole number)");
  refused("4,,8", R"("" in "4,,8" is not a whole number)");
  refused("4,8,", R"("" in "4,8," is not a whole number)");
  refused("", R"("" in "" is not a whole number)");
  refused("4 ,8", R"("4 " in "4 ,8" is not a whole number)");
  refused("1.5", R"("1.5" in "1.5" is not a whole number)");
  refused("99999999999", R"("99999999999" in "99999999999" is not a whole number in range)");
  BOOST_CHECK_EXCEPTION((void)parse_list<double>("1e-4,x"), linden::UsageError,
                        says(R"("x" in "1e-4,x" is not a number)"));
}

BOOST_AUTO_TEST_CASE(a_list_option_leaves_the_arguments_behind_it_alone) {
  CLI::App app;
  std::vector<int> ranks{1};
  std::string model;
  add_list(app, "--ranks", ranks, "ranks");
  app.add_option("model", model);
  BOOST_TEST(run(app, {"--ranks", "2,4", "folder"}, [] {}).status == 0);
  BOOST_TEST(ranks.size() == 2U);
  BOOST_TEST(ranks.back() == 4);
  BOOST_TEST(model == "folder");
}

BOOST_AUTO_TEST_CASE(a_list_option_keeps_and_shows_its_default) {
  CLI::App app;
  std::vector<double> rates{0.5, 0.25};
  add_list(app, "--rates", rates, "learning rates");
  BOOST_TEST(run(app, {}, [] {}).status == 0);
  BOOST_TEST(rates.size() == 2U);
  const Ended help = run(app, {"--help"}, [] {});
  BOOST_TEST(help.status == 0);
  BOOST_TEST(help.err == "");
  BOOST_TEST(help.out.find("--rates") != std::string::npos);
  BOOST_TEST(help.out.find("0.5,0.25") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_bad_list_option_ends_the_program_with_two) {
  CLI::App app;
  std::vector<int> ranks{1};
  add_list(app, "--ranks", ranks, "ranks");
  const Ended ended = run(app, {"--ranks", "2,x"}, [] { BOOST_ERROR("the program ran"); });
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(ended.err == "finetune: --ranks: \"x\" in \"2,x\" is not a whole number (see finetune --help)\n");
  BOOST_TEST(ended.out == "");
  BOOST_TEST(ranks.size() == 1U);
}

BOOST_AUTO_TEST_CASE(an_unknown_option_ends_the_program_with_two) {
  CLI::App app;
  const Ended ended = run(app, {"--wings"}, [] { BOOST_ERROR("the program ran"); });
  BOOST_TEST(ended.status == 2);
  BOOST_TEST(ended.err == "finetune: The following argument was not expected: --wings (see finetune --help)\n");
}

BOOST_AUTO_TEST_CASE(the_exit_status_tells_misuse_from_failure) {
  BOOST_TEST(run_throwing(linden::UsageError("rank 9 is not trained")).status == 2);
  BOOST_TEST(run_throwing(linden::DataError("config.json: no field")).status == 1);
  BOOST_TEST(run_throwing(linden::Error("no")).status == 1);
  BOOST_TEST(run_throwing(std::bad_alloc()).status == 1);
  BOOST_TEST(run_throwing(linden::DataError("config.json: no field")).err == "finetune: config.json: no field\n");
}

BOOST_AUTO_TEST_CASE(a_message_stays_on_one_line) {
  BOOST_TEST(run_throwing(linden::Error("first\nsecond")).err == "finetune: first second\n");
}

BOOST_AUTO_TEST_CASE(a_body_may_return_its_own_status) {
  CLI::App app;
  BOOST_TEST(run(app, {}, [] { return 7; }).status == 7);
  BOOST_TEST(run(app, {}, [] {}).status == 0);
}

BOOST_AUTO_TEST_CASE(several_processes_speak_once) {
  struct Process {
    std::ostringstream out, err;
    int status = -1;
  };
  const auto run_by = [](std::vector<const char*> arguments, const auto& body) {
    std::array<Process, 3> processes;
    arguments.insert(arguments.begin(), "finetune");
    linden::test::ThreadProcesses::run(3, [&](linden::ProcessGroup& group) {
      Process& mine = processes[static_cast<std::size_t>(group.index())];
      CLI::App app;
      int batch = 0;
      app.add_option("--batch", batch);
      mine.status = run_program(static_cast<int>(arguments.size()), arguments.data(), app, body, mine.out, mine.err,
                                [&]() -> linden::ProcessGroup& { return group; });
    });
    return processes;
  };
  const auto fails = [](linden::ProcessGroup& group) {
    linden::together(group, [&] {
      if (group.index() == 1) throw linden::DataError("no such file");
    });
    BOOST_ERROR("the program went on");
  };
  const auto failed = run_by({}, fails);
  for (const Process& process : failed) BOOST_TEST(process.status == 1);
  BOOST_TEST(failed[0].err.str() == "finetune: process 1 of 3: no such file\n");
  BOOST_TEST(failed[1].err.str() + failed[2].err.str() == "");
  const auto misused = run_by({"--batch", "x"}, fails);
  for (const Process& process : misused) BOOST_TEST(process.status == 2);
  BOOST_TEST(misused[0].err.str().starts_with("finetune: "));
  BOOST_TEST(misused[1].err.str() + misused[2].err.str() == "");
  const auto helped = run_by({"--help"}, fails);
  for (const Process& process : helped) BOOST_TEST(process.status == 0);
  BOOST_TEST((helped[0].out.str() != "" && helped[1].out.str() + helped[2].out.str() == ""));
  const auto alone = run_by({}, [](linden::ProcessGroup& group) {
    if (group.index() == 2) throw linden::DataError("no memory");
    return group.size();
  });
  BOOST_TEST((alone[0].status == 3 && alone[1].status == 3 && alone[2].status == 1));
  BOOST_TEST(alone[2].err.str() == "finetune: process 2 of 3: no memory\n");
}
