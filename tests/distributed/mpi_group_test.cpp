// Started by MPI's launcher, with any number of processes: each makes these tests.
#define BOOST_TEST_MODULE mpi_group
#include <linden/distributed/mpi_group.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/train/fine_tune.hpp>
#include <optional>

#include "support/counting_samples.hpp"
#include "support/small_llama.hpp"
#include "support/thread_processes.hpp"

namespace {
using namespace linden;

/// MPI can begin only once in a process.
struct Processes {
  Processes() { group.emplace(); }
  ~Processes() { group.reset(); }
  static inline std::optional<MpiGroup> group;
};
BOOST_TEST_GLOBAL_FIXTURE(Processes);
MpiGroup& group() { return *Processes::group; }

/// A process's value: of sizes so different that the order of a sum is seen in its bits.
template <class T>
T value_of(int process, std::size_t i) {
  const auto mixed = static_cast<std::uint32_t>((i + 1) * 2654435761U + static_cast<std::size_t>(process) * 40503U);
  return static_cast<T>(std::ldexp(double(mixed % 1000003) - 500000, static_cast<int>(mixed % 13)));
}

template <class T>
void check_sums(std::size_t count) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = value_of<T>(group().index(), i);
  group().sum(std::span(values));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    T expected = value_of<T>(0, i);
    for (int process = 1; process < group().size(); ++process) expected += value_of<T>(process, i);
    wrong += values[i] == expected ? 0 : 1;
  }
  BOOST_TEST(wrong == 0U, wrong << " of " << count);
}
}  // namespace

BOOST_AUTO_TEST_CASE(sums_are_added_in_the_order_of_the_processes) {
  const std::size_t messages_and_some = detail::message_bytes / sizeof(float) + 12345;
  for (const std::size_t count : {std::size_t(0), std::size_t(1), std::size_t(3), std::size_t(1000), messages_and_some}) {
    check_sums<float>(count);
    check_sums<double>(std::min<std::size_t>(count, 1000));
  }
}

BOOST_AUTO_TEST_CASE(sums_may_be_under_way_together) {
  std::vector<std::vector<float>> values;
  for (const std::size_t count : {1000UL, 3UL, 400000UL, 0UL, 50000UL, 7UL, 2000000UL, 10UL}) {  // more than are begun at a time
    values.emplace_back(count);
    for (std::size_t i = 0; i < count; ++i) values.back()[i] = value_of<float>(group().index(), i);
    group().start_sum(values.back());
    if (group().index() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // so not all are at the same one
  }
  group().finish_sums();
  std::size_t wrong = 0;
  for (const auto& one : values)
    for (std::size_t i = 0; i < one.size(); ++i) {
      float expected = value_of<float>(0, i);
      for (int process = 1; process < group().size(); ++process) expected += value_of<float>(process, i);
      wrong += one[i] == expected ? 0 : 1;
    }
  BOOST_TEST(wrong == 0U);
}

BOOST_AUTO_TEST_CASE(texts_come_in_the_order_of_the_processes) {
  const auto text_of = [](int process) { return std::string(static_cast<std::size_t>(process * process * 1000), static_cast<char>('a' + process)); };
  const auto all = group().gather(text_of(group().index()));  // that of process 0 is empty
  BOOST_REQUIRE(all.size() == static_cast<std::size_t>(group().size()));
  for (int process = 0; process < group().size(); ++process) BOOST_TEST((all[static_cast<std::size_t>(process)] == text_of(process)));
  BOOST_TEST(group().gather("").size() == all.size());
}

BOOST_AUTO_TEST_CASE(messages_name_a_process_and_its_host) {
  const std::string name = group().name(group().size() - 1);
  BOOST_TEST(name.find(text("process ", group().size() - 1, " of ", group().size(), " (on ")) == 0U, name);
}

BOOST_AUTO_TEST_CASE(reports_come_in_order_and_before_the_end) {
  std::vector<std::vector<std::string>> heard(static_cast<std::size_t>(group().size()));
  for (int round = 0; round < 3; ++round) {
    heard.assign(heard.size(), {});
    const OnReport on_report = [&](int process, const std::string& report) { heard[static_cast<std::size_t>(process)].push_back(report); };
    const auto report = [&](int process, int k) { return text(round, '/', process, '/', k, std::string(static_cast<std::size_t>(k) * 100, '.')); };
    for (int k = 0; k < 20 * group().index() + 3; ++k) {
      group().report(report(group().index(), k), on_report);
      if (k == 2 && group().index() == round) std::this_thread::sleep_for(std::chrono::milliseconds(1200));  // longer than between two signs
    }
    group().end_reports(on_report);
    for (int process = 0; process < group().size(); ++process) {
      const auto& its = heard[static_cast<std::size_t>(process)];
      BOOST_TEST(its.size() == (group().index() == 0 ? static_cast<std::size_t>(20 * process + 3) : 0U));
      for (std::size_t k = 0; k < its.size(); ++k) BOOST_TEST((its[k] == report(process, static_cast<int>(k))));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_sum_sends_every_value_as_rarely_as_can_be) {
  const int size = group().size();
  std::vector<float> values(static_cast<std::size_t>(1200 * size));
  const Traffic before = group().traffic();
  group().sum(std::span(values));
  const Traffic after = group().traffic();
  BOOST_TEST(after.bytes_sent - before.bytes_sent == 2.0 * (size - 1) / size * static_cast<double>(values.size() * sizeof(float)));
  BOOST_TEST(after.seconds >= before.seconds);
}

// What training makes of it is tested with threads (train/process_group_test.cpp); MPI must give the same bits.
BOOST_AUTO_TEST_CASE(a_run_has_the_bits_that_threads_would_give_it) {
  const auto model = Llama<test::Small, float>::random(11, 0.1);
  const auto data = test::counting_samples(23, {.values = 17, .shortest = 6, .spread = 20, .prompt = 3});
  for (const AdapterKind kind : {AdapterKind::lora, AdapterKind::dylora, AdapterKind::matryoshka, AdapterKind::stratified}) {
    FineTuneOptions options;
    options.adapter.kind = kind;
    options.adapter.full_rank = 8;
    options.adapter.train_ranks = RankSet{1, 2, 4, 8};
    options.batch = 5, options.accumulate = 2, options.steps = 5;
    const auto train = [&](ProcessGroup& processes) {
      FineTuner<test::Small, float> tuner(model, data, options, Host(), processes);
      while (!tuner.finished()) (void)tuner.step();
      const auto parameters = tuner.adapter().parameters();
      return std::vector<float>(parameters.begin(), parameters.end());
    };
    std::vector<float> expected;
    test::ThreadProcesses::run(group().size(), [&](ProcessGroup& threads) {
      auto parameters = train(threads);
      if (threads.index() == 0) expected = std::move(parameters);
    });
    BOOST_TEST((train(group()) == expected), to_string(kind));
  }
}
