#pragma once
/// \file
/// One of the example programs, run as a user's shell would.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <string>
#include <utility>
#include <vector>

#include "io/temporary_folder.hpp"

namespace linden::test {

/// How a program ended, and what it said. status is -signal for a program that was killed.
struct Ended {
  int status;
  std::string out, err;
};

/// A program that runs beside the test.
class RunningProgram {
 public:
  /// words[0] is the program's name, or a path.
  explicit RunningProgram(std::vector<std::string> words) {
    if (!words[0].starts_with('/')) words[0].insert(0, LINDEN_PROGRAM_DIR "/");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, said("out").c_str(), O_WRONLY | O_CREAT, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, said("err").c_str(), O_WRONLY | O_CREAT, 0600);
    const int refused = posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    BOOST_REQUIRE_MESSAGE(refused == 0, "cannot start " << words[0]);
  }

  void kill(int signal) const { ::kill(process_, signal); }
  [[nodiscard]] pid_t process() const { return process_; }
  /// Call once.
  [[nodiscard]] Ended wait() const {
    int status = 0;
    BOOST_REQUIRE_EQUAL(waitpid(process_, &status, 0), process_);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), content_of(said("out")), content_of(said("err"))};
  }

 private:
  [[nodiscard]] std::string said(const char* name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
  pid_t process_ = 0;
};

/// words[0] is the program's name, or a path.
inline Ended run_program(std::vector<std::string> words) { return RunningProgram(std::move(words)).wait(); }

}  // namespace linden::test
