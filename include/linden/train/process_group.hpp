#pragma once
/// \file
/// The processes that train one adapter together, as training sees them: how many there are, which one this is, sums over all.
/// Every process holds the whole model and takes its share of each step's samples; only gradients and losses travel.
/// Order   a sum adds the processes' values in the order of their numbers: all get the same bits, and so does every run of as
///         many processes.
/// Errors  ProcessError when another process is gone; the step that was being made was then not made. An error of one process alone
///         is known to it alone, unless it happens together().

#include <algorithm>
#include <cstddef>
#include <functional>
#include <linden/core/error.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace linden {

/// What process 0 does with the reports of work that is done apart.
using OnReport = std::function<void(int process, const std::string& report)>;

/// What a process has spent on the others so far.
struct Traffic {
  double bytes_sent = 0;  ///< of sums and texts
  double seconds = 0;     ///< until they had come, waiting for slower processes included
};

/// Sums over all processes of values in the memory of a device, which a group may offer beside its own.
class DeviceSums {
 public:
  DeviceSums() = default;
  DeviceSums(const DeviceSums&) = delete;
  DeviceSums& operator=(const DeviceSums&) = delete;
  virtual ~DeviceSums() = default;
  /// Starts a sum behind what is on the stream (a cudaStream_t); nobody touches the values before finish().
  virtual void start(float* values, std::size_t count, void* stream) = 0;
  /// Waits for all that were started; to be called when all processes are known to have started theirs.
  virtual void finish() = 0;
  [[nodiscard]] virtual double bytes_sent() const = 0;  ///< by this process, so far
};

/// What a run asks of its processes. All of them make the same calls, in the same order, with as many values.
class ProcessGroup {
 public:
  ProcessGroup() = default;
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;
  virtual ~ProcessGroup() = default;

  [[nodiscard]] virtual int size() const = 0;      ///< processes
  [[nodiscard]] virtual int index() const = 0;     ///< the number of this one, from 0
  virtual void sum(std::span<float> values) = 0;   ///< each becomes its sum over all processes
  virtual void sum(std::span<double> values) = 0;  ///< the same
  /// A sum of values that may travel while other work is done; they must stay where they are, and nobody may touch them, until
  /// finish_sums() has waited for all that were started.
  virtual void start_sum(std::span<float> values) { sum(values); }
  virtual void finish_sums() {}  ///< waits for all sums that were started
  /// Sums on devices, where there are some; null otherwise. They must outlive their use.
  [[nodiscard]] DeviceSums* device_sums() const { return device_sums_; }
  void set_device_sums(DeviceSums* sums) { device_sums_ = sums; }  ///< offers them, or no more
  /// Every process's text, in the order of their numbers.
  [[nodiscard]] virtual std::vector<std::string> gather(const std::string& mine) = 0;

  /// For work that every process does apart, called as often as it likes and without waiting: process 0 sees the reports of all, and
  /// those who wait at the end see that somebody is at work.
  virtual void report(const std::string& mine, const OnReport& on_report) = 0;
  /// A report to nobody, from within such work: that it goes on.
  virtual void alive() {}
  /// The end of such work: waits until all processes have come here; process 0 has then seen all their reports.
  virtual void end_reports(const OnReport& on_report) = 0;

  /// The number of this process among those of its host, from 0.
  [[nodiscard]] virtual int index_on_host() const { return index(); }
  /// How messages call a process.
  [[nodiscard]] virtual std::string name(int process) const { return text("process ", process, " of ", size()); }
  /// How long to wait for a process that gives no sign of life, where the implementation can tell.
  virtual void set_patience(double /*seconds*/) {}
  [[nodiscard]] virtual Traffic traffic() const { return {}; }  ///< since the group was made
  /// Ends the others, which do not know why this one must end with that status. Does not return, where there are others.
  virtual void end_all(int /*status*/) {}

 private:
  DeviceSums* device_sums_ = nullptr;
};

namespace detail {

class OneProcess final : public ProcessGroup {
 public:
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] int index() const override { return 0; }
  void sum(std::span<float>) override {}
  void sum(std::span<double>) override {}
  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
  void report(const std::string& mine, const OnReport& on_report) override { on_report(0, mine); }
  void end_reports(const OnReport&) override {}
};

}  // namespace detail

/// The group of a process that trains alone.
[[nodiscard]] inline ProcessGroup& one_process() {
  static detail::OneProcess alone;
  return alone;
}

/// The text that process 0 gives, everywhere.
[[nodiscard]] inline std::string from_first(ProcessGroup& group, const std::string& its) {
  return group.gather(group.index() == 0 ? its : std::string())[0];
}

/// An error that all processes of a group have thrown alike, whatever else it is.
struct AgreedError {
  virtual ~AgreedError() = default;
};

namespace detail {

template <class E>
struct Agreed final : E, AgreedError {
  using E::E;
};

/// How errors are told to other processes: a letter for the kind, and the words.
[[nodiscard]] inline std::string told(const std::exception& error) {
  const char kind = dynamic_cast<const UsageError*>(&error)    ? 'U'
                    : dynamic_cast<const DataError*>(&error)   ? 'D'
                    : dynamic_cast<const DeviceError*>(&error) ? 'V'
                                                               : 'E';
  return kind + std::string(error.what());
}
[[noreturn]] inline void throw_agreed(char kind, const std::string& words) {
  if (kind == 'U') throw Agreed<UsageError>(words);
  if (kind == 'D') throw Agreed<DataError>(words);
  if (kind == 'V') throw Agreed<DeviceError>(words);
  throw Agreed<Error>(words);
}

}  // namespace detail

/// Calls body() in every process. Where it fails in some of them, all throw the error of the first of these, which also is an
/// AgreedError and, where others had none, names the process.
template <class Body>
void together(ProcessGroup& group, Body&& body) {
  if (group.size() == 1) return std::forward<Body>(body)();
  std::string mine;
  try {
    std::forward<Body>(body)();
  } catch (const ProcessError&) {
    throw;  // there is no group any more
  } catch (const std::exception& error) {
    mine = detail::told(error);
  }
  const auto all = group.gather(mine);
  const auto failed = std::ranges::find_if(all, [](const std::string& one) { return !one.empty(); });
  if (failed == all.end()) return;
  const bool everywhere = std::ranges::count(all, *failed) == group.size();
  const std::string words = failed->substr(1);
  detail::throw_agreed(failed->front(), everywhere ? words : text(group.name(static_cast<int>(failed - all.begin())), ": ", words));
}

/// Deals a step's samples, in their order, to processes: each takes consecutive ones, of about as many tokens as the others'.
class TokenShares {
 public:
  /// `tokens` of all the samples to come.
  TokenShares(std::size_t tokens, int processes) : tokens_(tokens), processes_(static_cast<std::size_t>(processes)) {}

  /// \return the number of the process that takes the next sample, of so many tokens: where its middle lies.
  [[nodiscard]] int next(std::size_t tokens) {
    const std::size_t twice_middle = 2 * before_ + tokens;
    before_ += tokens;
    return static_cast<int>(std::min(twice_middle * processes_ / (2 * tokens_), processes_ - 1));  // the last takes an empty one
  }

 private:
  std::size_t tokens_, processes_, before_ = 0;
};

}  // namespace linden
