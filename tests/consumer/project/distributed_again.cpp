#include <linden/distributed/mpi_group.hpp>

std::size_t message_bytes();
std::size_t message_bytes() { return linden::detail::message_bytes; }
