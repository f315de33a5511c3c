#pragma once
/// \file
/// The processes of a run under a launcher of MPI: `mpirun -np 4 program`, `srun program`.
/// Waiting A process that waits says so to all others every second, as does one that is at work of its own (report, alive). Who is not
///         heard of for too long is named by all others, which give up.
/// Errors  ProcessError naming a process that gives no sign of life, and where it runs; DataError where MPI itself fails.

#include <chrono>
#include <cstdlib>
#include <linden/distributed/mpi_letters.hpp>
#include <linden/distributed/mpi_sums.hpp>
#include <linden/train/process_group.hpp>
#include <thread>

namespace linden {

/// All processes that the launcher has started. One object a program: MPI begins and ends with it.
class MpiGroup final : public ProcessGroup {
 public:
  using Seconds = std::chrono::duration<double>;  ///< how waiting is measured

  /// How long a process waits for another before it gives up: `patience`, and three times the longest time that it computed between
  /// two meetings itself. So steps may take as long as they do, and a process that is gone is noticed within a minute.
  explicit MpiGroup(Seconds patience = Seconds(45)) : patience_(patience) {
    int provided = 0;
    detail::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    detail::check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &processes_.all), "MPI_Comm_dup");  // messages of its own
    MPI_Comm_set_errhandler(processes_.all, MPI_ERRORS_RETURN);
    MPI_Comm_size(processes_.all, &processes_.size);
    MPI_Comm_rank(processes_.all, &processes_.index);
    hosts_.resize(static_cast<std::size_t>(size()));
    heard_.resize(hosts_.size(), Clock::now());
    at_work_.resize(hosts_.size(), true);
    hosts_ = gather(host_name());
  }
  ~MpiGroup() override {
    try {
      (void)gather("");  // nobody sends any more
      hear();
    } catch (const Error&) {  // MPI_Finalize must decide
    }
    MPI_Comm_free(&processes_.all);
    MPI_Finalize();
  }

  [[nodiscard]] int size() const override { return processes_.size; }
  [[nodiscard]] int index() const override { return processes_.index; }
  /// "process 3 of 4 (on host)"; they count from 0.
  [[nodiscard]] std::string name(int process) const override {
    return text("process ", process, " of ", size(), host(process).empty() ? "" : text(" (on ", host(process), ")"));
  }
  [[nodiscard]] int index_on_host() const override {
    return static_cast<int>(std::count(hosts_.begin(), hosts_.begin() + index(), host(index())));
  }
  /// Where a process runs.
  [[nodiscard]] const std::string& host(int process) const { return hosts_[static_cast<std::size_t>(process)]; }

  void sum(std::span<float> values) override {
    sums_.start(values);
    finish_sums();
  }
  void sum(std::span<double> values) override {
    sums_.start(values);
    finish_sums();
  }
  void start_sum(std::span<float> values) override { sums_.start(values); }
  void finish_sums() override {
    wait_until([&] { return sums_.move(); });
  }

  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override {
    std::vector<std::string> all(hosts_.size());
    std::vector<double> sizes(all.size(), 0.0);
    sizes[static_cast<std::size_t>(index())] = static_cast<double>(mine.size());
    sum(std::span(sizes));
    for (std::size_t p = 0; p < all.size(); ++p) all[p].resize(static_cast<std::size_t>(sizes[p]));
    all[static_cast<std::size_t>(index())] = mine;
    const auto longest = static_cast<std::size_t>(std::ranges::max(sizes));
    for (std::size_t begin = 0; begin < longest; begin += detail::message_bytes) exchange(mine, all, begin);
    return all;
  }

  void report(const std::string& mine, const OnReport& on_report) override {
    if (index() == 0) on_report(0, mine);
    if (index() != 0) letters_.send(0, detail::report_tag, report_mark + mine);
    alive();
    receive_reports(on_report);
    last_meeting_ = Clock::now();
  }
  void alive() override {
    note_work();
    if (Clock::now() - last_sign_ > sign_period()) give_sign();
    last_meeting_ = Clock::now();
  }
  void end_reports(const OnReport& on_report) override {
    letters_.send_all(detail::report_tag, std::string(1, end_mark));
    at_work_[static_cast<std::size_t>(index())] = false;
    wait_until([&] {
      receive_reports(on_report);
      return std::ranges::count(at_work_, true) == 0 && letters_.all_sent();
    });
    at_work_.assign(at_work_.size(), true);
  }

  void set_patience(double seconds) override { patience_ = Seconds(seconds); }
  [[nodiscard]] Traffic traffic() const override {
    const double of_devices = device_sums() == nullptr ? 0 : device_sums()->bytes_sent();
    return {sums_.bytes_sent() + letters_.bytes_sent() + text_bytes_ + of_devices, waited_.count()};
  }
  /// MPI_Abort.
  void end_all(int status) override {
    MPI_Abort(processes_.all, status);
    std::abort();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr char report_mark = 'r', end_mark = 'e';  // in front of a report, and instead of one

  static std::string host_name() {
    std::string name(MPI_MAX_PROCESSOR_NAME, '\0');
    int length = 0;
    detail::check_mpi(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
    name.resize(static_cast<std::size_t>(length));
    return name;
  }

  /// The pieces of all texts that begin there.
  void exchange(const std::string& mine, std::vector<std::string>& all, std::size_t begin) {
    std::vector<MPI_Request> requests;
    processes_.for_others([&](int process) {
      const auto its = detail::message_at(begin, all[static_cast<std::size_t>(process)]);
      const int count = static_cast<int>(its.size());
      detail::check_mpi(MPI_Irecv(its.data(), count, MPI_BYTE, process, detail::text_tag, processes_.all, &requests.emplace_back()), "a text");
    });
    const auto sent = detail::message_at(begin, mine);
    const int count = static_cast<int>(sent.size());
    processes_.for_others([&](int process) {
      text_bytes_ += static_cast<double>(count);
      detail::check_mpi(MPI_Isend(sent.data(), count, MPI_BYTE, process, detail::text_tag, processes_.all, &requests.emplace_back()), "a text");
    });
    wait_until([&] {
      int done = 0;
      detail::check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "a text");
      return done != 0;
    });
  }

  void receive_reports(const OnReport& on_report) {
    for (int process = 0; process < size(); ++process)
      while (at_work_[static_cast<std::size_t>(process)]) {  // behind its end would be the next work
        const auto words = letters_.receive(process, detail::report_tag);
        if (!words) break;
        heard_[static_cast<std::size_t>(process)] = Clock::now();
        if ((*words)[0] == end_mark)
          at_work_[static_cast<std::size_t>(process)] = false;
        else
          on_report(process, words->substr(1));
      }
  }

  // ---- signs of life ------------------------------------------------------------------------------------------------------

  [[nodiscard]] Seconds sign_period() const { return std::min(Seconds(1), patience_ / 8); }
  void give_sign() {
    letters_.send_all(detail::sign_tag, "");
    last_sign_ = Clock::now();
  }
  void hear() {
    processes_.for_others([&](int process) {
      while (letters_.receive(process, detail::sign_tag)) heard_[static_cast<std::size_t>(process)] = Clock::now();
    });
  }
  /// Called when this process has done a piece of work, and turns to the others.
  void note_work() { longest_work_ = std::max(longest_work_, Seconds(Clock::now() - last_meeting_)); }

  /// Waits until ready() says so. \throw ProcessError naming those that gave no sign of life for too long.
  template <class Ready>
  void wait_until(Ready&& ready) {
    const auto begin = Clock::now();
    note_work();
    for (long round = 0; !ready(); ++round) {
      if (round < 1000) continue;  // it comes at once, or takes a while
      if (Clock::now() - last_sign_ > sign_period()) {
        give_sign();
        hear();
        give_up_on_silent(begin);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    last_meeting_ = Clock::now();
    waited_ += last_meeting_ - begin;
  }
  void give_up_on_silent(Clock::time_point begin) const {
    std::string names;
    Seconds longest{0};
    processes_.for_others([&](int process) {
      const Seconds silent = Clock::now() - std::max(begin, heard_[static_cast<std::size_t>(process)]);
      if (silent < patience_ + 3 * longest_work_) return;
      names += (names.empty() ? "" : ", ") + name(process);
      longest = std::max(longest, silent);
    });
    if (!names.empty())
      throw ProcessError(text("linden: ", names, " gave no sign of life for ", static_cast<long>(longest.count()),
                              " seconds; it hangs, or its host cannot be reached"));
  }

  detail::MpiProcesses processes_;
  detail::MpiSums sums_{processes_};
  detail::MpiLetters letters_{processes_};
  Seconds patience_, longest_work_{0}, waited_{0};
  Clock::time_point last_meeting_ = Clock::now(), last_sign_{};
  std::vector<std::string> hosts_;
  std::vector<Clock::time_point> heard_;  // when a process was last heard of
  std::vector<bool> at_work_;             // it has not come to the end of the reports
  double text_bytes_ = 0;
};

}  // namespace linden
