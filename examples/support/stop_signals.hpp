#pragma once
/// \file
/// SIGINT and SIGTERM as a wish to stop, for a loop that looks when it can: between two steps.
/// Errors  none.

#include <csignal>

namespace linden::examples {

namespace detail {
inline volatile std::sig_atomic_t stop_signal = 0;
}

/// While it lives, the first SIGINT or SIGTERM is remembered; a second one ends the process as it would have.
class StopSignals {
 public:
  StopSignals() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { detail::stop_signal = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    ::sigaction(SIGINT, &action, &before_[0]);
    ::sigaction(SIGTERM, &action, &before_[1]);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    ::sigaction(SIGINT, &before_[0], nullptr);
    ::sigaction(SIGTERM, &before_[1], nullptr);
  }
  [[nodiscard]] bool received() const { return detail::stop_signal != 0; }

 private:
  struct sigaction before_[2] {};
};

}  // namespace linden::examples
