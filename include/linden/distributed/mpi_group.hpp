#pragma once
/// \file
/// The processes of a run under a launcher of MPI: `mpirun -np 4 program`, `srun program`.
/// Sums    go directly from process to process: each gets its part of the values from all others, adds them in the order of the
///         processes, and sends the sums to all. So the bits are everywhere the same, and the same in every run, which MPI_Allreduce
///         leaves to the implementation; a process that does not answer is known by its number; and every value is sent
///         2 (N - 1) / N times a process, the least there is.
/// Errors  ProcessError naming a process that does not answer, and where it runs; DataError where MPI itself fails.
/// Source  MPI 3.1 (mpi-forum.org). Thakur, Rabenseifner, Gropp 2005, Optimization of Collective Communication Operations in MPICH
///         (reduce-scatter, then all-gather).

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <linden/core/error.hpp>
#include <linden/train/process_group.hpp>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace linden {

namespace detail {

/// \throw DataError with MPI's words.
inline void check_mpi(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  std::string words(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(result, words.data(), &length);
  words.resize(static_cast<std::size_t>(length));
  throw DataError(text("linden: MPI, ", what, ": ", words));
}

template <class T>
[[nodiscard]] MPI_Datatype mpi_type() {
  if constexpr (std::is_same_v<T, float>)
    return MPI_FLOAT;
  else if constexpr (std::is_same_v<T, double>)
    return MPI_DOUBLE;
  else
    return MPI_BYTE;
}

/// MPI counts with int: more is sent in pieces of so many bytes, which also bounds the memory for what is received.
inline constexpr std::size_t message_bytes = std::size_t(64) << 20U;

/// The message that begins at `begin`; empty behind the end.
template <class Values>
[[nodiscard]] auto message_at(std::size_t begin, Values& all) {
  const std::span values(all);
  const std::size_t first = std::min(begin, values.size());
  return values.subspan(first, std::min(message_bytes / sizeof(values[0]), values.size() - first));
}

}  // namespace detail

/// All processes that the launcher has started. One object a program: MPI begins and ends with it.
class MpiGroup final : public ProcessGroup {
 public:
  using Seconds = std::chrono::duration<double>;  ///< how waiting is measured

  /// How long a process waits for another before it gives up: `patience`, and three times the longest time that it computed between
  /// two meetings itself. So steps may take as long as they do, and a process that is gone is noticed within a minute.
  explicit MpiGroup(Seconds patience = Seconds(45)) : patience_(patience) {
    int provided = 0;
    detail::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    detail::check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &all_), "MPI_Comm_dup");  // messages of its own
    MPI_Comm_set_errhandler(all_, MPI_ERRORS_RETURN);
    MPI_Comm_size(all_, &size_);
    MPI_Comm_rank(all_, &index_);
    hosts_.resize(static_cast<std::size_t>(size_));
    hosts_ = gather(host_name());
  }
  ~MpiGroup() override {
    MPI_Comm_free(&all_);
    MPI_Finalize();
  }

  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] int index() const override { return index_; }
  /// "process 3 of 4 (on host)"; they count from 0.
  [[nodiscard]] std::string name(int process) const override {
    const std::string& host = hosts_[static_cast<std::size_t>(process)];
    return text("process ", process, " of ", size_, host.empty() ? "" : text(" (on ", host, ")"));
  }

  void sum(std::span<float> values) override { sum_of(values); }
  void sum(std::span<double> values) override { sum_of(values); }

  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override {
    std::vector<std::string> all(static_cast<std::size_t>(size_));
    std::vector<double> sizes(all.size(), 0.0);
    sizes[static_cast<std::size_t>(index_)] = static_cast<double>(mine.size());
    sum(std::span(sizes));
    for (std::size_t p = 0; p < all.size(); ++p) all[p].resize(static_cast<std::size_t>(sizes[p]));
    all[static_cast<std::size_t>(index_)] = mine;
    std::size_t longest = 0;
    for (const std::string& one : all) longest = std::max(longest, one.size());
    for (std::size_t begin = 0; begin < longest; begin += detail::message_bytes)
      exchange([&](int) { return detail::message_at(begin, mine); },
               [&](int process) { return detail::message_at(begin, all[static_cast<std::size_t>(process)]); });
    return all;
  }

  /// Ends all processes at once, with this status: for an error that the others do not know of.
  [[noreturn]] void abort(int status) const {
    MPI_Abort(all_, status);
    std::abort();
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string host_name() {
    std::string name(MPI_MAX_PROCESSOR_NAME, '\0');
    int length = 0;
    detail::check_mpi(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
    name.resize(static_cast<std::size_t>(length));
    return name;
  }

  template <class T>
  void sum_of(std::span<T> values) {
    if (size_ == 1) return;
    for (std::size_t begin = 0; begin < values.size(); begin += detail::message_bytes / sizeof(T))
      sum_piece(detail::message_at(begin, values));
  }

  /// Every process adds up its part of the values, and sends the sums to the others.
  template <class T>
  void sum_piece(std::span<T> values) {
    const auto part = [&](int process) {
      const auto of = [&](int p) { return values.size() * static_cast<std::size_t>(p) / static_cast<std::size_t>(size_); };
      return values.subspan(of(process), of(process + 1) - of(process));
    };
    const std::span<T> mine = part(index_);
    received_.resize(static_cast<std::size_t>(size_) * mine.size_bytes());
    const auto received = [&](int process) {
      return std::span(reinterpret_cast<T*>(received_.data()) + static_cast<std::size_t>(process) * mine.size(), mine.size());
    };
    exchange(part, received);
    std::ranges::copy(mine, received(index_).begin());
    std::ranges::copy(received(0), mine.begin());
    for (int process = 1; process < size_; ++process) {
      const std::span<const T> more = received(process);
      for (std::size_t i = 0; i < mine.size(); ++i) mine[i] += more[i];
    }
    exchange([&](int) { return mine; }, part);
  }

  /// Sends sent(process) to every other process, and receives what it sends here into received(process).
  template <class Sent, class Received>
  void exchange(Sent sent, Received received) {
    requests_.clear();
    for (int offset = 1; offset < size_; ++offset) {
      const int process = (index_ + offset) % size_;
      start(received(process), process, [](auto... arguments) { return MPI_Irecv(arguments...); });
    }
    for (int offset = 1; offset < size_; ++offset) {
      const int process = (index_ + offset) % size_;
      start(sent(process), process, [](auto... arguments) { return MPI_Isend(arguments...); });
    }
    wait();
  }

  template <class T, class Operation>
  void start(std::span<T> values, int process, Operation operation) {
    const auto type = detail::mpi_type<std::remove_const_t<T>>();
    requests_.emplace_back();
    detail::check_mpi(operation(values.data(), static_cast<int>(values.size()), type, process, 0, all_, &requests_.back()), "a message");
  }

  /// Until all messages have been sent and received.
  void wait() {
    const auto begin = Clock::now();
    longest_work_ = std::max(longest_work_, Seconds(begin - last_meeting_));
    for (long round = 0;; ++round) {
      int done = 0;
      detail::check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done != 0) break;
      if (round < 1000) continue;  // it comes at once, or takes a while
      if (Seconds(Clock::now() - begin) > patience_ + 3 * longest_work_) give_up(Seconds(Clock::now() - begin));
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    last_meeting_ = Clock::now();
  }

  /// \throw ProcessError naming those whose messages did not come.
  [[noreturn]] void give_up(Seconds waited) {
    std::string missing;
    for (std::size_t k = 0; k + 1 < static_cast<std::size_t>(size_); ++k) {
      int done = 0;
      MPI_Test(&requests_[k], &done, MPI_STATUS_IGNORE);
      if (done == 0) missing += (missing.empty() ? "" : ", ") + name((index_ + 1 + static_cast<int>(k)) % size_);
    }
    throw ProcessError(text("linden: ", missing.empty() ? "another process" : missing, " did not answer for ", static_cast<long>(waited.count()),
                            " seconds; it hangs, or its host cannot be reached"));
  }

  MPI_Comm all_ = MPI_COMM_NULL;
  int size_ = 1, index_ = 0;
  Seconds patience_, longest_work_{0};
  Clock::time_point last_meeting_ = Clock::now();
  std::vector<std::string> hosts_;
  std::vector<MPI_Request> requests_;
  std::vector<std::byte> received_;
};

}  // namespace linden
