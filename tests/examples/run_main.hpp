#pragma once
/// \file
/// A program's main, called with words instead of by a shell. The test includes the program's source with main renamed.

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace linden::test {

/// How a program ended, and what it said.
struct Ended {
  int status;
  std::string out, err;
};

/// words[0] is the program's name.
inline Ended run_main(int (*program)(int, char**), std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  std::ostringstream out, err;
  auto* const old_out = std::cout.rdbuf(out.rdbuf());
  auto* const old_err = std::cerr.rdbuf(err.rdbuf());
  const int status = program(static_cast<int>(argv.size()), argv.data());
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_err);
  return {status, out.str(), err.str()};
}

}  // namespace linden::test
