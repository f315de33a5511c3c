#pragma once
/// \file
/// The processes that train one adapter together, as training sees them: how many there are, which one this is, sums over all.
/// Every process holds the whole model and takes its share of each step's samples; only gradients and losses travel.
/// Order   a sum adds the processes' values in the order of their numbers: all get the same bits, and so does every run of as
///         many processes.
/// Errors  what an implementation throws when another process is gone; the step that was being made was then not made.

#include <algorithm>
#include <cstddef>
#include <linden/core/error.hpp>
#include <span>
#include <string>
#include <vector>

namespace linden {

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
  /// Every process's text, in the order of their numbers.
  [[nodiscard]] virtual std::vector<std::string> gather(const std::string& mine) = 0;
  /// How messages call a process.
  [[nodiscard]] virtual std::string name(int process) const { return text("process ", process, " of ", size()); }
};

namespace detail {

class OneProcess final : public ProcessGroup {
 public:
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] int index() const override { return 0; }
  void sum(std::span<float>) override {}
  void sum(std::span<double>) override {}
  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
};

}  // namespace detail

/// The group of a process that trains alone.
[[nodiscard]] inline ProcessGroup& one_process() {
  static detail::OneProcess alone;
  return alone;
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
