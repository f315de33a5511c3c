// Process 1 never comes to the meeting, of sums or at the end of reports: the others say so, and end.
#include <cstring>
#include <iostream>
#include <linden/distributed/mpi_group.hpp>

int main(int argc, char** argv) {
  linden::MpiGroup group(linden::MpiGroup::Seconds(1));
  const bool reports = argc > 1 && std::strcmp(argv[1], "reports") == 0;
  if (group.index() == 1) std::this_thread::sleep_for(std::chrono::minutes(4));
  try {
    const auto on_report = [](int, const std::string&) {};
    for (int k = 0; k < 4 && reports && group.index() == 2; ++k) {  // who waits for this one can wait
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      group.alive();
    }
    double value = 1;
    if (reports) group.end_reports(on_report);
    group.sum(std::span(&value, 1));
  } catch (const linden::ProcessError& error) {
    std::cerr << error.what() << std::endl;
    group.end_all(1);
  }
}
