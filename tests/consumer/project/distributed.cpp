// Alone, or as one of the processes of an MPI launcher: a sum over all of them.
#include <iostream>
#include <linden/distributed/mpi_group.hpp>

std::size_t message_bytes();  // of another translation unit, which includes the header again

int main() {
  linden::MpiGroup group;
  double numbers[] = {1, static_cast<double>(group.index())};
  group.sum(std::span<double>(numbers));
  const int n = group.size();
  if (group.index() == 0) std::cout << n << " processes, whose numbers add up to " << numbers[1] << '\n';
  return numbers[0] == n && numbers[1] == n * (n - 1) / 2 && message_bytes() == linden::detail::message_bytes ? 0 : 1;
}
