#pragma once
/// \file
/// What the headers beside this one share of MPI: its errors, its communicator, its tags.
/// Errors  DataError with MPI's words.
/// Source  MPI 3.1 (mpi-forum.org).

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <linden/core/error.hpp>
#include <span>
#include <string>

namespace linden::detail {

/// \throw DataError with MPI's words.
inline void check_mpi(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  std::string words(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(result, words.data(), &length);
  words.resize(static_cast<std::size_t>(length));
  throw DataError(text("linden: MPI, ", what, ": ", words));
}

/// Messages of different kinds, which must not be taken for each other. Every sum has two tags; MPI allows 32767 at least.
inline constexpr int text_tag = 0, report_tag = 1, sign_tag = 2, first_sum_tag = 3, sum_tags = 10000;

/// Processes that know each other.
struct MpiProcesses {
  MPI_Comm all = MPI_COMM_NULL;
  int size = 1, index = 0;

  /// Calls body(process) for all others, beginning with the next: so not all turn to the same one first.
  template <class Body>
  void for_others(Body&& body) const {
    for (int offset = 1; offset < size; ++offset) body((index + offset) % size);
  }
};

/// MPI counts with int: more is sent in pieces of so many bytes, which also bounds the memory for what is received.
inline constexpr std::size_t message_bytes = std::size_t(64) << 20U;

/// The message that begins at `begin`; empty behind the end.
template <class Values>
[[nodiscard]] auto message_at(std::size_t begin, Values& all) {
  const std::span values(all);
  const std::size_t first = std::min(begin, values.size());
  return values.subspan(first, std::min(message_bytes / sizeof(values[0]), values.size() - first));
}

}  // namespace linden::detail
