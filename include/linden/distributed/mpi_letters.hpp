#pragma once
/// \file
/// Short texts from one process to another, for which nobody waits.

#include <linden/distributed/mpi.hpp>
#include <list>
#include <optional>
#include <utility>
#include <vector>

namespace linden::detail {

class MpiLetters {
 public:
  explicit MpiLetters(const MpiProcesses& processes) : processes_(processes) {}

  /// A copy of the words is on its way.
  void send(int process, int tag, std::string words) {
    (void)all_sent();
    bytes_sent_ += static_cast<double>(words.size());
    sent_.push_back({std::move(words)});
    Letter& letter = sent_.back();
    check_mpi(MPI_Isend(letter.words.data(), static_cast<int>(letter.words.size()), MPI_BYTE, process, tag, processes_.all, &letter.request),
              "a letter");
  }
  void send_all(int tag, const std::string& words) {
    processes_.for_others([&](int process) { send(process, tag, words); });
  }
  /// Whether what was sent has left; the memory of what has is free again.
  [[nodiscard]] bool all_sent() {
    std::erase_if(sent_, [](Letter& letter) {
      int done = 0;
      check_mpi(MPI_Test(&letter.request, &done, MPI_STATUS_IGNORE), "a letter");
      return done != 0;
    });
    return sent_.empty();
  }
  /// The next letter of a process with that tag, if one has come.
  [[nodiscard]] std::optional<std::string> receive(int process, int tag) {
    int there = 0, size = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(process, tag, processes_.all, &there, &status), "MPI_Iprobe");
    if (there == 0) return std::nullopt;
    MPI_Get_count(&status, MPI_BYTE, &size);
    std::string words(static_cast<std::size_t>(size), '\0');
    check_mpi(MPI_Recv(words.data(), size, MPI_BYTE, process, tag, processes_.all, MPI_STATUS_IGNORE), "a letter");
    return words;
  }
  [[nodiscard]] double bytes_sent() const { return bytes_sent_; }  ///< so far

 private:
  struct Letter {
    std::string words;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  const MpiProcesses& processes_;
  std::list<Letter> sent_;  // perhaps not yet
  double bytes_sent_ = 0;
};

}  // namespace linden::detail
