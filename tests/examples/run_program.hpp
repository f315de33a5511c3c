#pragma once
/// \file
/// One of the example programs, run as a user's shell would.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <string>
#include <vector>

#include "io/temporary_folder.hpp"

namespace linden::test {

/// How a program ended, and what it said. status is -signal for a program that was killed.
struct Ended {
  int status;
  std::string out, err;
};

/// words[0] is the program's name.
inline Ended run_program(std::vector<std::string> words) {
  const TemporaryFolder said;
  const std::string out = said.path() / "out", err = said.path() / "err";
  words[0].insert(0, LINDEN_PROGRAM_DIR "/");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t process = 0;
  const int refused = posix_spawn(&process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  BOOST_REQUIRE_MESSAGE(refused == 0, "cannot start " << words[0]);

  int status = 0;
  BOOST_REQUIRE_EQUAL(waitpid(process, &status, 0), process);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), content_of(out), content_of(err)};
}

}  // namespace linden::test
