#pragma once
/// \file
/// A progress bar for long runs, on stderr so that results on stdout stay clean.
/// On a terminal  one line, redrawn in place at most ten times a second: bar, percent, the caller's text, time.
/// Elsewhere      a plain line at most every ten seconds while it runs, and one when it is complete.
/// Units          times are shown as [h:]mm:ss, elapsed first, then what is left at the speed so far.
/// Errors         none: what cannot be written is not shown.

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <tuple>

namespace linden::examples {

/// Seconds on a clock that never goes back.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Where and how progress is shown; the defaults suit every program.
struct ProgressStyle {
  std::size_t start = 0;                 ///< steps done before this run (a resumed one): they cost it no time
  std::FILE* out = stderr;               ///< not owned
  std::optional<bool> terminal = {};     ///< redraw in place? Unset: if `out` is a terminal
  double (*seconds)() = steady_seconds;  ///< the clock
};

/// One line about `done` of `total` steps. The destructor leaves the cursor at the start of a fresh line: below the bar
/// when all is done, in its cleared place otherwise (an exception's message then stands alone).
class Progress {
 public:
  explicit Progress(std::size_t total, ProgressStyle style = {})
      : total_(total),
        style_(style),
        terminal_(style.terminal.value_or(is_terminal(style.out))),
        begin_(style.seconds()),
        shown_(terminal_ ? begin_ - redraw_seconds : begin_) {}

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  ~Progress() { clear(); }

  /// `done` steps of the total are done; `what` says more ("loss 2.31"). The call that completes is always shown.
  void update(std::size_t done, std::string_view what = {}) {
    const double now = style_.seconds();
    const bool complete = done >= total_ && !complete_;
    if (!complete && (complete_ || now - shown_ < (terminal_ ? redraw_seconds : line_seconds))) return;
    shown_ = now;
    complete_ = complete;
    if (terminal_) {
      draw(done, what, now - begin_);
    } else {
      print(done, what, now - begin_);
    }
  }

  /// Takes the bar off the terminal, to print something else; the next update() shows it again.
  void clear() {
    if (!drawn_) return;
    std::fputs("\r\x1b[K", style_.out);
    std::fflush(style_.out);
    drawn_ = false;
    shown_ = begin_ - redraw_seconds;
  }

 private:
  static constexpr double redraw_seconds = 0.1;
  static constexpr double line_seconds = 10;
  static constexpr std::size_t bar_width = 24;

  /// Short texts in place: showing progress allocates nothing.
  using Clock = std::array<char, 48>;
  using Times = std::array<char, 2 * std::tuple_size_v<Clock> + 8>;

  static bool is_terminal(std::FILE* out) {
    const char* name = std::getenv("TERM");
    return isatty(fileno(out)) != 0 && (name == nullptr || std::string_view(name) != "dumb");
  }

  /// Columns of the terminal, asked for each time: windows change.
  [[nodiscard]] std::size_t columns() const {
    winsize size{};
    return ioctl(fileno(style_.out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }

  [[nodiscard]] double fraction(std::size_t done) const {
    return total_ == 0 ? 1.0 : static_cast<double>(std::min(done, total_)) / static_cast<double>(total_);
  }

  /// 75 -> "1:15", 3675 -> "1:01:15"
  static Clock clock(double seconds) {
    const auto whole = static_cast<long>(seconds + 0.5);
    Clock out{};
    if (whole >= 3600) {
      std::snprintf(out.data(), out.size(), "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
      std::snprintf(out.data(), out.size(), "%ld:%02ld", whole / 60, whole % 60);
    }
    return out;
  }

  /// "1:15, 2:30 left", or the elapsed time alone while nothing, or everything, is done
  [[nodiscard]] Times times(std::size_t done, double elapsed) const {
    Times out{};
    if (done <= style_.start || done >= total_) {
      std::snprintf(out.data(), out.size(), "%s", clock(elapsed).data());
      return out;
    }
    const double left = elapsed * static_cast<double>(total_ - done) / static_cast<double>(done - style_.start);
    std::snprintf(out.data(), out.size(), "%s, %s left", clock(elapsed).data(), clock(left).data());
    return out;
  }

  /// The first `width` characters of UTF-8 text, counted as one column each.
  static std::string_view cut(std::string_view text, std::size_t width) {
    std::size_t end = 0;
    for (std::size_t seen = 0; end < text.size(); ++end) {
      const bool begins = (static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80U;
      if (begins && seen++ == width) break;
    }
    return text.substr(0, end);
  }

  void draw(std::size_t done, std::string_view what, double elapsed) {
    std::array<char, bar_width + 1> bar{};
    std::fill_n(bar.begin(), bar_width, '.');
    std::fill_n(bar.begin(), static_cast<std::size_t>(fraction(done) * bar_width), '#');
    const Times time = times(done, elapsed);
    const std::size_t around = bar_width + 12 + std::string_view(time.data()).size();  // all but `what`, and the cursor
    const std::size_t width = columns();
    std::fprintf(style_.out, "\r\x1b[K[%s] %3.0f%%  ", bar.data(), percent(done));
    put(cut(what, width > around ? width - around : 0));
    std::fputs(time.data(), style_.out);
    drawn_ = !complete_;
    if (complete_) std::fputc('\n', style_.out);
    std::fflush(style_.out);
  }

  void print(std::size_t done, std::string_view what, double elapsed) const {
    std::fprintf(style_.out, "%zu/%zu  %3.0f%%  ", done, total_, percent(done));
    put(what);
    std::fprintf(style_.out, "%s\n", times(done, elapsed).data());
    std::fflush(style_.out);
  }

  /// The caller's text, if any, and the space behind it.
  void put(std::string_view what) const {
    if (what.empty()) return;
    std::fwrite(what.data(), 1, what.size(), style_.out);
    std::fputs("  ", style_.out);
  }

  /// Rounded down: 100 means complete.
  [[nodiscard]] double percent(std::size_t done) const {
    return static_cast<double>(static_cast<int>(fraction(done) * 100));
  }

  std::size_t total_;
  ProgressStyle style_;
  bool terminal_;
  double begin_;
  double shown_;        // when the line was last shown
  bool drawn_ = false;  // the cursor stands behind a bar
  bool complete_ = false;
};

}  // namespace linden::examples
