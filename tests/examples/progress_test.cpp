#define BOOST_TEST_MODULE examples_progress
#include "support/progress.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

namespace {

using linden::examples::Progress;

double now = 0;
double test_clock() { return now; }

std::size_t allocations = 0;

/// A stream that keeps what was written to it.
struct Sink {
  std::FILE* file = std::tmpfile();

  Sink() { now = 100; }
  ~Sink() { std::fclose(file); }
  [[nodiscard]] std::string text() const {
    std::string out;
    std::rewind(file);
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) out += static_cast<char>(c);
    return out;
  }
  [[nodiscard]] Progress progress(std::size_t total, bool terminal, std::size_t start = 0) const {
    return Progress(total, {.start = start, .out = file, .terminal = terminal, .seconds = test_clock});
  }
};

}  // namespace

// Not inlined: GCC would take the pair for a mismatched one.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

BOOST_FIXTURE_TEST_CASE(a_log_gets_a_line_every_ten_seconds_and_one_at_the_end, Sink) {
  {
    Progress progress = this->progress(100, false);
    for (std::size_t step = 1; step <= 100; ++step) {
      now += 0.25;
      progress.update(step, "loss 2.5");
    }
  }
  BOOST_TEST(text() ==
             "40/100   40%  loss 2.5  0:10, 0:15 left\n"
             "80/100   80%  loss 2.5  0:20, 0:05 left\n"
             "100/100  100%  loss 2.5  0:25\n");
}

BOOST_FIXTURE_TEST_CASE(a_log_holds_no_control_characters_when_the_run_fails, Sink) {
  {
    Progress progress = this->progress(10, false);
    now += 11;
    progress.update(1);
    progress.clear();
  }
  BOOST_TEST(text() == "1/10   10%  0:11, 1:39 left\n");
}

BOOST_FIXTURE_TEST_CASE(completion_is_told_once, Sink) {
  Progress progress = this->progress(2, false);
  progress.update(2);
  now += 60;
  progress.update(2);
  BOOST_TEST(text() == "2/2  100%  0:00\n");
}

BOOST_FIXTURE_TEST_CASE(a_terminal_line_is_redrawn_in_place_and_ends_below, Sink) {
  {
    Progress progress = this->progress(4, true);
    now += 30;
    progress.update(1, "loss 2.5");
    now += 0.01;
    progress.update(2, "too soon to see");
    now += 3600;
    progress.update(4, "loss 1.5");
  }
  BOOST_TEST(text() ==
             "\r\x1b[K[######..................]  25%  loss 2.5  0:30, 1:30 left"
             "\r\x1b[K[########################] 100%  loss 1.5  1:00:30\n");
}

BOOST_FIXTURE_TEST_CASE(a_failed_run_leaves_a_clear_terminal_line, Sink) {
  {
    Progress progress = this->progress(4, true);
    now += 1;
    progress.update(1);
  }
  BOOST_TEST(text() == "\r\x1b[K[######..................]  25%  0:01, 0:03 left\r\x1b[K");
}

BOOST_FIXTURE_TEST_CASE(the_bar_makes_room_and_comes_back, Sink) {
  Progress progress = this->progress(4, true);
  now += 1;
  progress.update(1);
  progress.clear();
  std::fputs("checkpoint saved\n", file);
  progress.update(1);
  const std::string bar = "\r\x1b[K[######..................]  25%  0:01, 0:03 left";
  BOOST_TEST(text() == bar + "\r\x1b[Kcheckpoint saved\n" + bar);
}

BOOST_FIXTURE_TEST_CASE(time_left_counts_the_steps_of_this_run_only, Sink) {
  Progress progress = this->progress(100, false, 90);
  now += 10;
  progress.update(95);
  BOOST_TEST(text() == "95/100   95%  0:10, 0:10 left\n");
}

BOOST_FIXTURE_TEST_CASE(a_long_text_is_cut_to_the_terminal_between_characters, Sink) {
  Progress progress = this->progress(4, true);
  now += 1;
  std::string what;
  for (int i = 0; i < 100; ++i) what += "\xc3\xa9";
  progress.update(2, what);
  const std::string line = text();
  std::size_t characters = 0;
  for (const char c : line.substr(4)) characters += (static_cast<unsigned char>(c) & 0xc0U) != 0x80U ? 1 : 0;
  BOOST_TEST(characters == 79U);  // a sink is no terminal, so 80 columns, one of them for the cursor
  BOOST_TEST(line.find("\xc3  ") == std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(nearly_done_is_not_a_hundred_percent, Sink) {
  Progress progress = this->progress(1000, true);
  now += 1;
  progress.update(999);
  BOOST_TEST(text().find("]  99%") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(nothing_to_do_is_complete, Sink) {
  Progress progress = this->progress(0, false);
  progress.update(0);
  BOOST_TEST(text() == "0/0  100%  0:00\n");
}

BOOST_FIXTURE_TEST_CASE(an_update_allocates_nothing, Sink) {
  Progress progress = this->progress(1000, true);
  progress.update(1, "loss 2.5");  // the stream makes its buffer
  const std::size_t before = allocations;
  for (std::size_t step = 2; step <= 1000; ++step) {
    now += 1;
    progress.update(step, "loss 2.5");
  }
  BOOST_TEST(allocations == before);
}

BOOST_AUTO_TEST_CASE(a_file_is_no_terminal) {
  const Sink sink;
  now = 0;
  {
    Progress progress(1, {.out = sink.file, .seconds = test_clock});
    progress.update(1);
  }
  BOOST_TEST(sink.text() == "1/1  100%  0:00\n");
}
