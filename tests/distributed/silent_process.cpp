// Process 1 never comes to the meeting: the others say so, and end.
#include <iostream>
#include <linden/distributed/mpi_group.hpp>

int main() {
  linden::MpiGroup group(linden::MpiGroup::Seconds(1));
  if (group.index() == 1) std::this_thread::sleep_for(std::chrono::minutes(4));
  try {
    double value = 1;
    group.sum(std::span(&value, 1));
  } catch (const linden::ProcessError& error) {
    std::cerr << error.what() << std::endl;
    group.abort(1);
  }
}
