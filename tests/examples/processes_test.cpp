#define BOOST_TEST_MODULE processes
#include "support/processes.hpp"
//
#include <array>
#include <boost/test/unit_test.hpp>

#include "support/thread_processes.hpp"

using namespace linden;

BOOST_AUTO_TEST_CASE(a_program_that_was_started_alone_is_alone) {
  BOOST_TEST(examples::processes().size() == 1);
  BOOST_TEST(&examples::processes() == &examples::processes());
}

BOOST_AUTO_TEST_CASE(processes_that_were_not_started_alike_are_told_what_differs) {
  const auto agree = [](const std::array<nlohmann::json, 3>& settings) {
    std::array<std::string, 3> words;
    test::ThreadProcesses::run(3, [&](ProcessGroup& group) {
      const auto process = static_cast<std::size_t>(group.index());
      try {
        examples::agree(group, settings[process]);
      } catch (const UsageError& error) {
        words[process] = error.what();
      }
    });
    BOOST_TEST((words[0] == words[1] && words[0] == words[2]));
    return words[0];
  };
  const nlohmann::json usual{{"batch", 4}, {"model", {{"path", "here"}, {"fingerprint", "a"}}}};
  nlohmann::json moved = usual, other = usual;
  moved["model"]["path"] = "there";
  BOOST_TEST(agree({usual, moved, usual}) == "");
  other["batch"] = 8;
  BOOST_TEST(agree({usual, usual, other}) == "the processes were not started alike: batch 4 in process 0, 8 in process 2 of 3");
  other = usual;
  other["model"]["fingerprint"] = "b";
  BOOST_TEST(agree({usual, other, usual}) ==
             "the processes were not started alike: model.fingerprint \"a\" in process 0, \"b\" in process 1 of 3");
  examples::agree(one_process(), usual);
}
