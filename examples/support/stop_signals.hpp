#pragma once
/// \file
/// SIGINT, SIGTERM and SIGUSR1 (which mpirun hands on to its processes, and Slurm sends before the time is up: --signal=USR1@300)
/// as a wish to stop, for a loop that looks when it can: between two steps.
/// Errors  none.

#include <array>
#include <csignal>
#include <cstddef>

namespace linden::examples {

namespace detail {
inline volatile std::sig_atomic_t stop_signal = 0;
}

/// While it lives, the first of each is remembered; a second one ends the process as it would have.
class StopSignals {
 public:
  StopSignals() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { detail::stop_signal = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    for (std::size_t k = 0; k < signals.size(); ++k) ::sigaction(signals[k], &action, &before_[k]);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    for (std::size_t k = 0; k < signals.size(); ++k) ::sigaction(signals[k], &before_[k], nullptr);
  }
  [[nodiscard]] bool received() const { return detail::stop_signal != 0; }

 private:
  static constexpr std::array signals{SIGINT, SIGTERM, SIGUSR1};
  struct sigaction before_[signals.size()] {};
};

}  // namespace linden::examples
