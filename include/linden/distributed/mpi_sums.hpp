#pragma once
/// \file
/// Sums over all processes, several of them under way at a time, which somebody must look after now and then.
/// A sum goes directly from process to process: each gets its part of the values from all others, adds them in the order of the
/// processes, and sends the sums to all. So the bits are everywhere the same, and the same in every run, which MPI_Allreduce leaves to
/// the implementation; and a process sends every value 2 (N - 1) / N times, the least there is.
/// Source  Thakur, Rabenseifner, Gropp 2005, Optimization of Collective Communication Operations in MPICH (reduce-scatter, then
///         all-gather).

#include <linden/core/parallel.hpp>  // LINDEN_INDEPENDENT
#include <linden/distributed/mpi.hpp>
#include <list>
#include <type_traits>
#include <vector>

namespace linden::detail {

class MpiSums {
 public:
  explicit MpiSums(const MpiProcesses& processes) : processes_(processes) {}

  /// Starts a sum, whose values nobody may touch until all are done. All processes start the same ones, in the same order.
  template <class T>
  void start(std::span<T> values) {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
    if (processes_.size == 1) return;
    for (std::size_t begin = 0; begin < values.size(); begin += message_bytes / sizeof(T)) {
      if (spare_.empty()) spare_.emplace_back();
      waiting_.splice(waiting_.end(), spare_, spare_.begin());
      Sum& sum = waiting_.back();
      sum.values = std::as_writable_bytes(message_at(begin, values));
      sum.add = add_up<T>;
      sum.type = std::is_same_v<T, float> ? MPI_FLOAT : MPI_DOUBLE;
      sum.element = sizeof(T);
      sum.tag = first_sum_tag + 2 * next_;
      next_ = (next_ + 1) % sum_tags;
    }
    move();
  }

  /// Looks after the sums, without waiting. \return whether all are done.
  bool move() {
    while (!waiting_.empty() && under_way_.size() < most_under_way) {
      under_way_.splice(under_way_.end(), waiting_, waiting_.begin());
      begin(under_way_.back());
    }
    for (auto next = under_way_.begin(); next != under_way_.end();) {
      const auto sum = next++;
      if (!sum->arrived()) continue;
      if (sum->adds) {
        sum->add(processes_, *sum);
        spread(*sum);
      } else {
        spare_.splice(spare_.end(), under_way_, sum);
      }
    }
    return under_way_.empty() && waiting_.empty();
  }

  [[nodiscard]] double bytes_sent() const { return bytes_sent_; }  ///< so far

 private:
  static constexpr std::size_t most_under_way = 4;  // more would take memory and gain nothing

  /// First every process receives its part of the values from all and adds them up, then it sends the sums to all. Each phase has a tag
  /// of its own: which sum is that far first may differ from process to process.
  struct Sum {
    std::span<std::byte> values{};
    void (*add)(const MpiProcesses&, Sum&) = nullptr;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    std::size_t element = 1;
    int tag = 0;
    bool adds = true;
    std::vector<std::byte> received{};  // [process][part]
    std::vector<MPI_Request> requests{};

    /// A process's part of the values.
    [[nodiscard]] std::span<std::byte> part(int process, int processes) const {
      const std::size_t count = values.size() / element;
      const auto of = [&](int p) { return count * static_cast<std::size_t>(p) / static_cast<std::size_t>(processes) * element; };
      return values.subspan(of(process), of(process + 1) - of(process));
    }
    [[nodiscard]] std::span<std::byte> received_from(int process, std::size_t bytes) {
      return std::span(received).subspan(static_cast<std::size_t>(process) * bytes, bytes);
    }
    [[nodiscard]] bool arrived() {
      int done = 0;
      check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "a sum");
      return done != 0;
    }
  };

  /// Adds what was received to this process's part, in the order of the processes.
  template <class T>
  static void add_up(const MpiProcesses& processes, Sum& sum) {
    const std::span<std::byte> part = sum.part(processes.index, processes.size);
    const std::size_t count = part.size() / sizeof(T);
    T* const mine = reinterpret_cast<T*>(part.data());
    const auto from = [&](int process) { return reinterpret_cast<T*>(sum.received_from(process, part.size()).data()); };
    std::copy_n(mine, count, from(processes.index));
    std::copy_n(from(0), count, mine);
    for (int process = 1; process < processes.size; ++process) {
      const T* const more = from(process);
      LINDEN_INDEPENDENT
      for (std::size_t i = 0; i < count; ++i) mine[i] += more[i];
    }
  }

  void begin(Sum& sum) {
    const std::size_t mine = sum.part(processes_.index, processes_.size).size();
    sum.adds = true;
    sum.received.resize(static_cast<std::size_t>(processes_.size) * mine);
    sum.requests.clear();
    processes_.for_others([&](int process) { receive(sum.received_from(process, mine), process, sum, 0); });
    processes_.for_others([&](int process) { send(sum.part(process, processes_.size), process, sum, 0); });
  }
  void spread(Sum& sum) {
    sum.adds = false;
    sum.requests.clear();
    processes_.for_others([&](int process) { receive(sum.part(process, processes_.size), process, sum, 1); });
    processes_.for_others([&](int process) { send(sum.part(processes_.index, processes_.size), process, sum, 1); });
  }
  void receive(std::span<std::byte> bytes, int process, Sum& sum, int phase) {
    const int count = static_cast<int>(bytes.size() / sum.element);
    check_mpi(MPI_Irecv(bytes.data(), count, sum.type, process, sum.tag + phase, processes_.all, &sum.requests.emplace_back()), "a sum");
  }
  void send(std::span<const std::byte> bytes, int process, Sum& sum, int phase) {
    const int count = static_cast<int>(bytes.size() / sum.element);
    bytes_sent_ += static_cast<double>(bytes.size());
    check_mpi(MPI_Isend(bytes.data(), count, sum.type, process, sum.tag + phase, processes_.all, &sum.requests.emplace_back()), "a sum");
  }

  const MpiProcesses& processes_;
  std::list<Sum> under_way_, waiting_, spare_;  // spare: their memory is used again
  int next_ = 0;
  double bytes_sent_ = 0;
};

}  // namespace linden::detail
