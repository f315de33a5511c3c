#pragma once
/// \file
/// Processes of one run as threads of this one: what they compute is tested without a launcher.

#include <algorithm>
#include <barrier>
#include <exception>
#include <linden/train/process_group.hpp>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace linden::test {

/// What the threads share: where each has its values while they are added.
class ThreadProcesses {
 public:
  /// Calls body(group) in `count` threads, each with the group as its process sees it.
  template <class Body>
  static void run(int count, Body&& body) {
    ThreadProcesses processes(count);
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
    std::vector<std::jthread> threads;
    for (int index = 0; index < count; ++index)
      threads.emplace_back([&, index] {
        Group group(processes, index);
        try {
          body(group);
        } catch (...) {
          errors[static_cast<std::size_t>(index)] = std::current_exception();
        }
        processes.meeting_.arrive_and_drop();  // the others need not wait for it
      });
    threads.clear();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  class Group final : public ProcessGroup {
   public:
    Group(ThreadProcesses& all, int index) : all_(all), index_(index) {}
    [[nodiscard]] int size() const override { return all_.count_; }
    [[nodiscard]] int index() const override { return index_; }
    void sum(std::span<float> values) override { all_.sum(index_, values); }
    void sum(std::span<double> values) override { all_.sum(index_, values); }
    [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override { return all_.gather(index_, mine); }
    void report(const std::string& mine, const OnReport& on_report) override { all_.report(index_, mine, on_report); }
    void end_reports(const OnReport& on_report) override {
      all_.meeting_.arrive_and_wait();
      if (index_ == 0) all_.read_reports(on_report);
      all_.meeting_.arrive_and_wait();
    }

   private:
    ThreadProcesses& all_;
    int index_;
  };

  explicit ThreadProcesses(int count) : count_(count), meeting_(count), values_(static_cast<std::size_t>(count)) {}

  template <class T>
  void sum(int index, std::span<T> values) {
    values_[static_cast<std::size_t>(index)] = values.data();
    meeting_.arrive_and_wait();
    std::vector<T> sums(values.size(), T(0));
    for (const void* const one : values_)
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<const T*>(one)[i];
    meeting_.arrive_and_wait();
    std::ranges::copy(sums, values.begin());
  }

  std::vector<std::string> gather(int index, const std::string& mine) {
    values_[static_cast<std::size_t>(index)] = &mine;
    meeting_.arrive_and_wait();
    std::vector<std::string> all;
    for (const void* const one : values_) all.push_back(*static_cast<const std::string*>(one));
    meeting_.arrive_and_wait();
    return all;
  }

  void report(int index, const std::string& words, const OnReport& on_report) {
    {
      const std::lock_guard hold(lock_);
      reports_.emplace_back(index, words);
    }
    if (index == 0) read_reports(on_report);
  }
  void read_reports(const OnReport& on_report) {
    std::vector<std::pair<int, std::string>> all;
    {
      const std::lock_guard hold(lock_);
      all.swap(reports_);
    }
    for (const auto& [process, words] : all) on_report(process, words);
  }

  int count_;
  std::mutex lock_;
  std::vector<std::pair<int, std::string>> reports_;
  std::barrier<> meeting_;
  std::vector<const void*> values_;
};

}  // namespace linden::test
