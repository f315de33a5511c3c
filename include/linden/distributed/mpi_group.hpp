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
#include <list>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
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
    heard_.resize(hosts_.size());
    at_work_.resize(hosts_.size(), true);
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
    return text("process ", process, " of ", size_, host(process).empty() ? "" : text(" (on ", host(process), ")"));
  }
  /// Where a process runs.
  [[nodiscard]] const std::string& host(int process) const { return hosts_[static_cast<std::size_t>(process)]; }

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

  void report(const std::string& mine, const OnReport& on_report) override {
    note_work();
    if (index_ == 0) on_report(0, mine);
    if (index_ != 0) send(0, report_mark + mine);
    if (Seconds(Clock::now() - last_sign_) > Seconds(1)) tell_all(sign_mark);
    receive_all(on_report);
    last_meeting_ = Clock::now();
  }
  void end_reports(const OnReport& on_report) override {
    note_work();
    tell_all(end_mark);
    at_work_[static_cast<std::size_t>(index_)] = false;
    const auto begin = Clock::now();
    heard_.assign(heard_.size(), begin);
    while (std::ranges::count(at_work_, true) > 0)
      if (!receive_all(on_report)) wait_for_reports();
    at_work_.assign(at_work_.size(), true);
    traffic_.seconds += Seconds(Clock::now() - begin).count();
    requests_.clear();
    for (const Letter& letter : sent_) requests_.push_back(letter.request);
    wait();
    sent_.clear();
  }

  void set_patience(double seconds) override { patience_ = Seconds(seconds); }
  [[nodiscard]] Traffic traffic() const override { return traffic_; }
  /// MPI_Abort.
  void end_all(int status) override {
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
      traffic_.bytes_sent += static_cast<double>(sent(process).size_bytes());
    }
    wait();
  }

  template <class T, class Operation>
  void start(std::span<T> values, int process, Operation operation) {
    const auto type = detail::mpi_type<std::remove_const_t<T>>();
    requests_.emplace_back();
    detail::check_mpi(operation(values.data(), static_cast<int>(values.size()), type, process, 0, all_, &requests_.back()), "a message");
  }

  /// Called when this process has done a piece of work, and turns to the others.
  void note_work() { longest_work_ = std::max(longest_work_, Seconds(Clock::now() - last_meeting_)); }
  [[nodiscard]] bool too_long(Seconds waited) const { return waited > patience_ + 3 * longest_work_; }

  /// Until all messages have been sent and received.
  void wait() {
    const auto begin = Clock::now();
    note_work();
    for (long round = 0;; ++round) {
      int done = 0;
      detail::check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done != 0) break;
      if (round < 1000) continue;  // it comes at once, or takes a while
      if (too_long(Clock::now() - begin)) give_up(unanswered(), Clock::now() - begin);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    last_meeting_ = Clock::now();
    traffic_.seconds += Seconds(last_meeting_ - begin).count();
  }

  /// Those whose messages exchange() has not received.
  [[nodiscard]] std::vector<int> unanswered() {
    std::vector<int> missing;
    for (std::size_t k = 0; k < std::min(requests_.size(), static_cast<std::size_t>(size_ - 1)); ++k) {
      int done = 0;
      MPI_Test(&requests_[k], &done, MPI_STATUS_IGNORE);
      if (done == 0) missing.push_back((index_ + 1 + static_cast<int>(k)) % size_);
    }
    return missing;
  }
  /// \throw ProcessError naming them.
  [[noreturn]] void give_up(const std::vector<int>& missing, Seconds waited) const {
    std::string names;
    for (const int process : missing) names += (names.empty() ? "" : ", ") + name(process);
    throw ProcessError(text("linden: ", names.empty() ? "another process" : names, " did not answer for ", static_cast<long>(waited.count()),
                            " seconds; it hangs, or its host cannot be reached"));
  }

  // Reports travel as texts with a tag of their own, each with a mark in front.
  static constexpr char report_mark = 'r', sign_mark = 's', end_mark = 'e';
  static constexpr int report_tag = 1;
  struct Letter {
    std::string words;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void send(int process, std::string words) {
    std::erase_if(sent_, [](Letter& letter) {
      int done = 0;
      MPI_Test(&letter.request, &done, MPI_STATUS_IGNORE);
      return done != 0;
    });
    Letter& letter = sent_.emplace_back(std::move(words));
    traffic_.bytes_sent += static_cast<double>(letter.words.size());
    detail::check_mpi(MPI_Isend(letter.words.data(), static_cast<int>(letter.words.size()), MPI_BYTE, process, report_tag, all_, &letter.request),
                      "a report");
  }
  void tell_all(char mark) {
    for (int process = 0; process < size_; ++process)
      if (process != index_) send(process, std::string(1, mark));
    last_sign_ = Clock::now();
  }
  /// What has come. \return whether anything had.
  bool receive_all(const OnReport& on_report) {
    bool any = false;
    for (int process = 0; process < size_; ++process)
      while (at_work_[static_cast<std::size_t>(process)] && receive(process, on_report)) any = true;  // behind its end is the next work
    return any;
  }
  /// The next report of a process, if there is one.
  bool receive(int process, const OnReport& on_report) {
    int there = 0, size = 0;
    MPI_Status status;
    detail::check_mpi(MPI_Iprobe(process, report_tag, all_, &there, &status), "MPI_Iprobe");
    if (there == 0) return false;
    MPI_Get_count(&status, MPI_BYTE, &size);
    std::string words(static_cast<std::size_t>(size), '\0');
    detail::check_mpi(MPI_Recv(words.data(), size, MPI_BYTE, process, report_tag, all_, MPI_STATUS_IGNORE), "a report");
    heard_[static_cast<std::size_t>(process)] = Clock::now();
    at_work_[static_cast<std::size_t>(process)] = words[0] != end_mark;
    if (words[0] == report_mark) on_report(process, words.substr(1));
    return true;
  }
  /// A moment; \throw ProcessError when a process that has not ended gives no sign of life.
  void wait_for_reports() {
    std::vector<int> silent;
    Seconds longest{0};
    for (int process = 0; process < size_; ++process) {
      const Seconds waited = Clock::now() - heard_[static_cast<std::size_t>(process)];
      if (!at_work_[static_cast<std::size_t>(process)] || !too_long(waited)) continue;
      silent.push_back(process);
      longest = std::max(longest, waited);
    }
    if (!silent.empty()) give_up(silent, longest);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  MPI_Comm all_ = MPI_COMM_NULL;
  int size_ = 1, index_ = 0;
  Seconds patience_, longest_work_{0};
  Clock::time_point last_meeting_ = Clock::now();
  std::vector<std::string> hosts_;
  std::vector<MPI_Request> requests_;
  std::vector<std::byte> received_;
  Traffic traffic_;
  std::list<Letter> sent_;                 // reports under way
  Clock::time_point last_sign_{};          // of life, to the others
  std::vector<Clock::time_point> heard_;   // when a process last reported
  std::vector<bool> at_work_;              // it has not come to the end of the reports
};

}  // namespace linden
