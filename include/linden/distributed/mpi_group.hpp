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
#include <linden/core/parallel.hpp>  // LINDEN_INDEPENDENT
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
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  return std::is_same_v<T, float> ? MPI_FLOAT : MPI_DOUBLE;
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

  void sum(std::span<float> values) override {
    queue_sum(values);
    finish_sums();
  }
  void sum(std::span<double> values) override {
    queue_sum(values);
    finish_sums();
  }
  void start_sum(std::span<float> values) override { queue_sum(values); }
  void finish_sums() override {
    wait_until([&] { return move_sums(); }, [&] { return unanswered(sums_.front().requests); });
  }

  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override {
    std::vector<std::string> all(static_cast<std::size_t>(size_));
    std::vector<double> sizes(all.size(), 0.0);
    sizes[static_cast<std::size_t>(index_)] = static_cast<double>(mine.size());
    sum(std::span(sizes));
    for (std::size_t p = 0; p < all.size(); ++p) all[p].resize(static_cast<std::size_t>(sizes[p]));
    all[static_cast<std::size_t>(index_)] = mine;
    std::size_t longest = 0;
    for (const std::string& one : all) longest = std::max(longest, one.size());
    for (std::size_t begin = 0; begin < longest; begin += detail::message_bytes) {
      std::vector<MPI_Request> requests;
      for_others([&](int process) {
        const auto its = detail::message_at(begin, all[static_cast<std::size_t>(process)]);
        detail::check_mpi(MPI_Irecv(its.data(), static_cast<int>(its.size()), MPI_BYTE, process, text_tag, all_, &requests.emplace_back()), "a text");
      });
      for_others([&](int process) {
        const auto sent = detail::message_at(begin, mine);
        traffic_.bytes_sent += static_cast<double>(sent.size());
        detail::check_mpi(MPI_Isend(sent.data(), static_cast<int>(sent.size()), MPI_BYTE, process, text_tag, all_, &requests.emplace_back()),
                          "a text");
      });
      wait(requests);
    }
    return all;
  }

  void report(const std::string& mine, const OnReport& on_report) override {
    if (index_ == 0) on_report(0, mine);
    if (index_ != 0) send(0, report_mark + mine);
    alive();
    receive_all(on_report);
    last_meeting_ = Clock::now();
  }
  void alive() override {
    note_work();
    if (Seconds(Clock::now() - last_sign_) > Seconds(1)) tell_all(sign_mark);
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
    std::vector<MPI_Request> letters;
    for (const Letter& letter : sent_) letters.push_back(letter.request);
    wait(letters);
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
  static constexpr int text_tag = 0, report_tag = 1, first_sum_tag = 2, sum_tags = 10000;  // MPI has at least 32767

  static std::string host_name() {
    std::string name(MPI_MAX_PROCESSOR_NAME, '\0');
    int length = 0;
    detail::check_mpi(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
    name.resize(static_cast<std::size_t>(length));
    return name;
  }

  /// A sum under way. First every process receives its part of the values from all and adds them up, then it sends the sums to all.
  /// Each has tags of its own: which of several sums is that far first may differ from process to process.
  struct Sum {
    std::span<std::byte> values{};
    void (*add)(const MpiGroup&, Sum&) = nullptr;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    std::size_t element = 1;
    int tag = 0;
    std::vector<std::byte> received{};  // [process][part]
    std::vector<MPI_Request> requests{};
    bool adds = true;

    /// A process's part of the values.
    [[nodiscard]] std::span<std::byte> part(int process, int processes) const {
      const std::size_t count = values.size() / element;
      const auto of = [&](int p) { return count * static_cast<std::size_t>(p) / static_cast<std::size_t>(processes) * element; };
      return values.subspan(of(process), of(process + 1) - of(process));
    }
    [[nodiscard]] std::span<std::byte> received_from(int process, std::size_t bytes) {
      return std::span(received).subspan(static_cast<std::size_t>(process) * bytes, bytes);
    }
  };
  static constexpr std::size_t sums_under_way = 4;  // more would take memory and gain nothing

  template <class T>
  void queue_sum(std::span<T> values) {
    if (size_ == 1) return;
    for (std::size_t begin = 0; begin < values.size(); begin += detail::message_bytes / sizeof(T)) {
      if (spare_sums_.empty()) spare_sums_.emplace_back();
      waiting_sums_.splice(waiting_sums_.end(), spare_sums_, spare_sums_.begin());
      Sum& sum = waiting_sums_.back();
      sum.values = std::as_writable_bytes(detail::message_at(begin, values));
      sum.add = add_up<T>;
      sum.type = detail::mpi_type<T>();
      sum.element = sizeof(T);
      sum.tag = first_sum_tag + next_sum_ * 2;
      next_sum_ = (next_sum_ + 1) % sum_tags;
    }
    move_sums();
  }

  /// Adds what was received to this process's part, in the order of the processes.
  template <class T>
  static void add_up(const MpiGroup& group, Sum& sum) {
    const std::span<std::byte> part = sum.part(group.index_, group.size_);
    const std::size_t count = part.size() / sizeof(T);
    T* const mine = reinterpret_cast<T*>(part.data());
    const auto from = [&](int process) { return reinterpret_cast<const T*>(sum.received_from(process, part.size()).data()); };
    std::copy_n(mine, count, reinterpret_cast<T*>(sum.received_from(group.index_, part.size()).data()));
    std::copy_n(from(0), count, mine);
    for (int process = 1; process < group.size_; ++process) {
      const T* const more = from(process);
      LINDEN_INDEPENDENT
      for (std::size_t i = 0; i < count; ++i) mine[i] += more[i];
    }
  }

  /// Looks after the sums, without waiting. \return whether all are done.
  bool move_sums() {
    while (!waiting_sums_.empty() && sums_.size() < sums_under_way) {
      sums_.splice(sums_.end(), waiting_sums_, waiting_sums_.begin());
      begin(sums_.back());
    }
    for (auto next = sums_.begin(); next != sums_.end();) {
      const auto sum = next++;
      if (!done(sum->requests)) continue;
      if (sum->adds) {
        sum->add(*this, *sum);
        spread(*sum);
      } else {
        spare_sums_.splice(spare_sums_.end(), sums_, sum);
      }
    }
    return sums_.empty() && waiting_sums_.empty();
  }
  void begin(Sum& sum) {
    sum.adds = true;
    sum.requests.clear();
    const std::size_t mine = sum.part(index_, size_).size();
    sum.received.resize(static_cast<std::size_t>(size_) * mine);
    for_others([&](int process) { receive_into(sum.received_from(process, mine), process, sum, 0); });
    for_others([&](int process) { send_from(sum.part(process, size_), process, sum, 0); });
  }
  void spread(Sum& sum) {
    sum.adds = false;
    sum.requests.clear();
    for_others([&](int process) { receive_into(sum.part(process, size_), process, sum, 1); });
    for_others([&](int process) { send_from(sum.part(index_, size_), process, sum, 1); });
  }
  void receive_into(std::span<std::byte> bytes, int process, Sum& sum, int phase) {
    detail::check_mpi(MPI_Irecv(bytes.data(), static_cast<int>(bytes.size() / sum.element), sum.type, process, sum.tag + phase, all_,
                                &sum.requests.emplace_back()),
                      "a sum");
  }
  void send_from(std::span<const std::byte> bytes, int process, Sum& sum, int phase) {
    traffic_.bytes_sent += static_cast<double>(bytes.size());
    detail::check_mpi(MPI_Isend(bytes.data(), static_cast<int>(bytes.size() / sum.element), sum.type, process, sum.tag + phase, all_,
                                &sum.requests.emplace_back()),
                      "a sum");
  }

  /// Calls body(process) for all others, beginning with the next: so not all turn to the same one first.
  template <class Body>
  void for_others(Body&& body) const {
    for (int offset = 1; offset < size_; ++offset) body((index_ + offset) % size_);
  }
  [[nodiscard]] static bool done(std::vector<MPI_Request>& requests) {
    int done = 0;
    detail::check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
    return done != 0;
  }

  /// Called when this process has done a piece of work, and turns to the others.
  void note_work() { longest_work_ = std::max(longest_work_, Seconds(Clock::now() - last_meeting_)); }
  [[nodiscard]] bool too_long(Seconds waited) const { return waited > patience_ + 3 * longest_work_; }

  /// Waits until ready() says so. \throw ProcessError naming those that missing() names, when it takes too long.
  template <class Ready, class Missing>
  void wait_until(Ready&& ready, Missing&& missing) {
    const auto begin = Clock::now();
    note_work();
    for (long round = 0; !ready(); ++round) {
      if (round < 1000) continue;  // it comes at once, or takes a while
      if (too_long(Clock::now() - begin)) give_up(missing(), Clock::now() - begin);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    last_meeting_ = Clock::now();
    traffic_.seconds += Seconds(last_meeting_ - begin).count();
  }
  void wait(std::vector<MPI_Request>& requests) {
    wait_until([&] { return done(requests); }, [&] { return unanswered(requests); });
  }
  /// Those whose messages have not come; the first requests are those of for_others().
  [[nodiscard]] std::vector<int> unanswered(std::vector<MPI_Request>& requests) const {
    std::vector<int> missing;
    std::size_t k = 0;
    for_others([&](int process) {
      int done = 1;
      if (k < requests.size()) MPI_Test(&requests[k++], &done, MPI_STATUS_IGNORE);
      if (done == 0) missing.push_back(process);
    });
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
  std::list<Sum> sums_, waiting_sums_, spare_sums_;  // spare: their memory is used again
  int next_sum_ = 0;
  Traffic traffic_;
  std::list<Letter> sent_;                 // reports under way
  Clock::time_point last_sign_{};          // of life, to the others
  std::vector<Clock::time_point> heard_;   // when a process last reported
  std::vector<bool> at_work_;              // it has not come to the end of the reports
};

}  // namespace linden
