#define BOOST_TEST_MODULE process_group
#include <linden/train/process_group.hpp>
//
#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/train/fine_tune.hpp>
#include <numeric>

#include "io/temporary_folder.hpp"
#include "support/counting_samples.hpp"
#include "support/thread_processes.hpp"

namespace {
using namespace linden;

struct Small {
  static constexpr const char* name = "small";
  static constexpr long hidden = 32, intermediate = 48, layers = 2, heads = 4, kv_heads = 2, head_size = 8;
  static constexpr long vocabulary = 40, positions = 64;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{};
};
using Tuner = FineTuner<Small, float>;

constexpr std::array kinds{AdapterKind::lora, AdapterKind::dylora, AdapterKind::matryoshka, AdapterKind::stratified};

std::vector<Sample> samples(std::size_t count) {
  return test::counting_samples(count, {.values = 38, .shortest = 6, .spread = 30, .prompt = 3});
}

FineTuneOptions options_for(AdapterKind kind, std::size_t batch, std::size_t accumulate) {
  FineTuneOptions options;
  options.adapter.kind = kind;
  options.adapter.full_rank = 8;
  options.adapter.train_ranks = RankSet{1, 2, 4, 8};
  options.learning_rate = 1e-2;
  options.steps = 6;
  options.batch = batch;
  options.accumulate = accumulate;
  return options;
}

const Llama<Small, float>& model() {
  static const auto random = Llama<Small, float>::random(11, 0.1);
  return random;
}

Tuner tuner_of(std::span<const Sample> data, const FineTuneOptions& options, ProcessGroup& group) {
  return Tuner(model(), data, options, Host(), group);
}

std::vector<float> parameters_of(Tuner& tuner) {
  const auto parameters = tuner.adapter().parameters();
  return {parameters.begin(), parameters.end()};
}

/// A step and what it left.
struct Outcome {
  StepReport report;
  FineTuneState<float> state;
};

Outcome step_after(Tuner& tuner, const std::filesystem::path& before, const std::filesystem::path& after) {
  tuner.resume(before);
  Outcome outcome;
  outcome.report = tuner.step();
  tuner.save_state(after);
  outcome.state = read_fine_tune_state<float>(after, tuner.adapter().parameters().size());
  return outcome;
}

/// |a - b| / |b|.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double(a[i]) - double(b[i]), 2);
    length += double(b[i]) * double(b[i]);
  }
  return std::sqrt(difference / length);
}

/// How a step is cut: micro-batches of `batch`, `accumulate` of them, of so many samples in all.
struct Cut {
  std::size_t samples, batch, accumulate;
};
// Even and uneven shares; a last step of 3 samples in one micro-batch; fewer samples than processes.
constexpr std::array cuts{Cut{40, 5, 2}, Cut{23, 5, 2}, Cut{9, 2, 1}, Cut{7, 1, 1}};
}  // namespace

BOOST_AUTO_TEST_CASE(shares_are_consecutive_and_alike) {
  for (const int processes : {1, 2, 3, 4, 7}) {
    std::vector<std::size_t> lengths, tokens(static_cast<std::size_t>(processes), 0);
    for (std::size_t i = 0; i < 50; ++i) lengths.push_back(1 + i * 37 % 23);
    const std::size_t all = std::accumulate(lengths.begin(), lengths.end(), std::size_t(0));
    TokenShares shares(all, processes);
    int last = 0;
    for (const std::size_t length : lengths) {
      const int process = shares.next(length);
      BOOST_TEST((process >= last && process < processes));
      last = process;
      tokens[static_cast<std::size_t>(process)] += length;
    }
    for (const std::size_t share : tokens)  // one sample more or less
      BOOST_TEST(std::abs(double(share) - double(all) / processes) <= 23.0, processes << " processes: " << share << " of " << all);
  }
  TokenShares alone(5, 3);
  BOOST_TEST(alone.next(5) == 1);  // the others have nothing to do
  TokenShares with_empty(4, 2);    // which is refused later, so somebody must take it
  BOOST_TEST(with_empty.next(4) == 1);
  BOOST_TEST(with_empty.next(0) == 1);
}

BOOST_AUTO_TEST_CASE(a_step_is_the_same_on_any_number_of_processes) {
  const test::TemporaryFolder folder;
  for (const AdapterKind kind : kinds)
    for (const Cut& cut : cuts) {
      const auto data = samples(cut.samples);
      auto options = options_for(kind, cut.batch, cut.accumulate);
      options.adamw.beta1 = 0;  // the first moment is the step's clipped gradient
      Tuner alone = tuner_of(data, options, one_process());
      const auto name = [&](std::size_t steps) { return folder.path() / text("step", steps); };
      alone.save_state(name(0));
      for (std::size_t t = 0; t < options.steps; ++t) {
        const StepReport there = alone.step();
        alone.save_state(name(t + 1));
        const auto expected = read_fine_tune_state<float>(name(t + 1), alone.adapter().parameters().size());
        for (const int processes : {1, 2, 3, 4}) {
          std::vector<Outcome> outcomes(static_cast<std::size_t>(processes));
          test::ThreadProcesses::run(processes, [&](ProcessGroup& group) {
            Tuner tuner = tuner_of(data, options, group);
            outcomes[static_cast<std::size_t>(group.index())] = step_after(tuner, name(t), folder.path() / text("of", group.index()));
          });
          const Outcome& first = outcomes.front();
          const auto what = text(to_string(kind), ", ", cut.samples, " samples, step ", t + 1, ", ", processes, " processes");
          BOOST_TEST(std::abs(first.report.loss - there.loss) <= 1e-6 * there.loss, what);
          BOOST_TEST(std::abs(first.report.gradient_norm - there.gradient_norm) <= 1e-6 * there.gradient_norm, what);
          BOOST_TEST(distance(first.state.moment1, expected.moment1) <= 1e-6, what << ": " << distance(first.state.moment1, expected.moment1));
          BOOST_TEST(first.report.tokens == there.tokens);
          for (const Outcome& other : outcomes) {  // or they would train apart
            BOOST_TEST((other.state.parameters == first.state.parameters));
            BOOST_TEST((other.state.moment1 == first.state.moment1 && other.state.moment2 == first.state.moment2));
            BOOST_TEST((other.report.loss == first.report.loss && other.report.gradient_norm == first.report.gradient_norm));
          }
        }
      }
    }
}

namespace {
/// Whose layers' gradients are worth a message each.
struct Wide {
  static constexpr const char* name = "wide";
  static constexpr long hidden = 256, intermediate = 512, layers = 3, heads = 8, kv_heads = 8, head_size = 32;
  static constexpr long vocabulary = 40, positions = 64;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{};
};

/// The first of two processes, whose other one has nothing to say.
class FirstOfTwo final : public ProcessGroup {
 public:
  std::vector<std::span<float>> started;
  int finishes = 0;

  [[nodiscard]] int size() const override { return 2; }
  [[nodiscard]] int index() const override { return 0; }
  void sum(std::span<float>) override { throw Error("this sum waits"); }
  void sum(std::span<double>) override {}
  void start_sum(std::span<float> values) override { started.push_back(values); }
  void finish_sums() override { ++finishes; }
  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override { return {mine, mine}; }
  void report(const std::string&, const OnReport&) override {}
  void end_reports(const OnReport&) override {}
};
}  // namespace

BOOST_AUTO_TEST_CASE(sums_start_while_the_layers_below_are_computed) {
  const auto wide = Llama<Wide, float>::random(5, 0.02);
  const auto data = samples(9);
  auto options = options_for(AdapterKind::stratified, 3, 2);
  options.adapter.full_rank = 64;
  options.adapter.train_ranks = RankSet{8, 64};
  options.steps = 2;
  FirstOfTwo group;
  FineTuner<Wide, float> first(wide, data, options, Host(), group);
  const std::size_t n = first.adapter().parameters().size();
  for (int step = 1; step <= 2; ++step) {
    group.started.clear();
    (void)first.step();
    BOOST_TEST(group.finishes == step);
    BOOST_REQUIRE(group.started.size() == 3U);  // from the last layer to the first, each gradient once
    const float* end = group.started.front().data() + group.started.front().size();
    const float* const begin = end - n;
    for (const std::span<float> piece : group.started) {
      BOOST_TEST(piece.size() == n / 3);
      BOOST_TEST((piece.data() + piece.size() == end));
      end = piece.data();
    }
    BOOST_TEST((end == begin));
  }
  FineTuner<Wide, float> alone(wide, data, options);
  while (!alone.finished()) (void)alone.step();
  const auto expected = alone.adapter().parameters();
  for (const int processes : {2, 3})
    test::ThreadProcesses::run(processes, [&](ProcessGroup& threads) {
      FineTuner<Wide, float> tuner(wide, data, options, Host(), threads);
      while (!tuner.finished()) (void)tuner.step();
      const auto parameters = tuner.adapter().parameters();
      const double difference = distance({parameters.begin(), parameters.end()}, {expected.begin(), expected.end()});
      if (!(difference <= 1e-5)) throw Error(text("differs by ", difference));
    });
}

BOOST_AUTO_TEST_CASE(a_run_on_as_many_processes_has_the_same_bits) {
  const auto data = samples(23);
  for (const AdapterKind kind : kinds)
    for (const int processes : {1, 2, 3, 4}) {
      const auto options = options_for(kind, 5, 2);
      const auto train = [&] {
        std::vector<float> result;
        test::ThreadProcesses::run(processes, [&](ProcessGroup& group) {
          Tuner tuner = tuner_of(data, options, group);
          while (!tuner.finished()) (void)tuner.step();
          if (group.index() == processes - 1) result = parameters_of(tuner);
        });
        return result;
      };
      const std::vector<float> first = train();
      BOOST_TEST((train() == first), to_string(kind) << " on " << processes);
      if (processes > 1) continue;
      Tuner alone = tuner_of(data, options, one_process());
      while (!alone.finished()) (void)alone.step();
      BOOST_TEST((parameters_of(alone) == first));
    }
}

BOOST_AUTO_TEST_CASE(a_sample_that_one_process_cannot_learn_from_stops_the_step_of_all) {
  auto data = samples(8);
  data[3].ids[2] = 0;  // which no other sample has
  auto broken = Llama<Small, float>::random(11, 0.1);
  broken.weights().embedding(0, 0) = std::numeric_limits<float>::quiet_NaN();
  const auto options = options_for(AdapterKind::matryoshka, 4, 1);
  test::ThreadProcesses::run(2, [&](ProcessGroup& group) {
    Tuner tuner(broken, data, options, Host(), group);
    while (!tuner.finished()) {
      const StepReport report = tuner.step();
      const auto step_samples = tuner.samples_of_step();
      if (report.applied != (std::ranges::find(step_samples, 3U) == step_samples.end())) throw Error("applied: " + std::to_string(report.step));
    }
  });
}

BOOST_AUTO_TEST_CASE(a_state_is_gone_on_from_by_any_number_of_processes) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "state";
  const auto data = samples(23);
  for (const AdapterKind kind : kinds) {
    const auto options = options_for(kind, 5, 2);
    Tuner whole = tuner_of(data, options, one_process());
    while (!whole.finished()) (void)whole.step();
    const std::vector<float> expected = parameters_of(whole);
    for (const auto& counts : {std::pair(2, 2), std::pair(3, 2), std::pair(1, 4), std::pair(4, 1)}) {
      const int before = counts.first, after = counts.second;
      std::vector<float> uninterrupted, ended;
      test::ThreadProcesses::run(before, [&](ProcessGroup& group) {
        Tuner tuner = tuner_of(data, options, group);
        for (int step = 0; step < 3; ++step) (void)tuner.step();
        if (group.index() == 0) tuner.save_state(file);
        while (!tuner.finished()) (void)tuner.step();
        if (group.index() == 0) uninterrupted = parameters_of(tuner);
      });
      test::ThreadProcesses::run(after, [&](ProcessGroup& group) {
        Tuner tuner = tuner_of(data, options, group);
        tuner.resume(group.index() == 0 ? file : "only process 0 sees files");
        while (!tuner.finished()) (void)tuner.step();
        if (group.index() == after - 1) ended = parameters_of(tuner);
      });
      BOOST_TEST(distance(ended, expected) <= 1e-5, to_string(kind) << " from " << before << " to " << after << ": " << distance(ended, expected));
      if (before == after) BOOST_TEST((ended == uninterrupted));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_state_that_process_0_cannot_read_is_refused_by_all) {
  const auto data = samples(8);
  std::atomic<int> refused = 0;
  test::ThreadProcesses::run(3, [&](ProcessGroup& group) {
    Tuner tuner = tuner_of(data, options_for(AdapterKind::lora, 4, 1), group);
    try {
      tuner.resume("none.safetensors");
    } catch (const DataError& error) {
      if (std::string(error.what()).find("process 0 of 3: none.safetensors") == 0) ++refused;
    }
    (void)tuner.step();  // it is as it was
  });
  BOOST_TEST(refused == 3);
}

BOOST_AUTO_TEST_CASE(what_fails_somewhere_fails_everywhere) {
  std::array<std::string, 4> words;
  const auto fail_in = [&](const auto& thrown, auto&& fails) {
    using Thrown = std::remove_cvref_t<decltype(thrown)>;
    test::ThreadProcesses::run(4, [&](ProcessGroup& group) {
      std::string& word = words[static_cast<std::size_t>(group.index())];
      word.clear();
      try {
        together(group, [&] {
          if (fails(group.index())) throw thrown;
        });
      } catch (const Thrown& error) {
        word = dynamic_cast<const AgreedError*>(&error) == nullptr ? "not agreed" : error.what();
      }
    });
  };
  const auto all = [&](const std::string& expected) { return std::ranges::count(words, expected) == 4; };
  fail_in(UsageError("rank 0"), [](int) { return true; });
  BOOST_TEST(all("rank 0"));
  fail_in(DataError("no such file"), [](int process) { return process == 2; });
  BOOST_TEST(all("process 2 of 4: no such file"));
  fail_in(DeviceError("no memory"), [](int process) { return process > 0; });
  BOOST_TEST(all("process 1 of 4: no memory"));
  fail_in(Error("else"), [](int process) { return process == 0; });
  BOOST_TEST(all("process 0 of 4: else"));
  fail_in(Error("none"), [](int) { return false; });
  BOOST_TEST(all(""));
  BOOST_CHECK_EXCEPTION(together(one_process(), [] { throw UsageError("alone"); }), UsageError, [](const UsageError& error) {
    return std::string(error.what()) == "alone" && dynamic_cast<const AgreedError*>(&error) == nullptr;
  });
}

BOOST_AUTO_TEST_CASE(process_0_speaks_to_all_and_hears_all) {
  for (const int processes : {1, 3}) {
    std::vector<int> heard(static_cast<std::size_t>(processes));
    test::ThreadProcesses::run(processes, [&](ProcessGroup& group) {
      if (from_first(group, text("said by ", group.index())) != "said by 0") throw Error("another has spoken");
      for (int round = 0; round < 2; ++round) {
        const OnReport on_report = [&](int process, const std::string& report) {
          if (group.index() != 0 || report != text(round, " of ", process)) throw Error("heard " + report);
          ++heard[static_cast<std::size_t>(process)];
        };
        for (int k = 0; k < 10 * group.index() + 1; ++k) group.report(text(round, " of ", group.index()), on_report);
        group.end_reports(on_report);
      }
    });
    for (int process = 0; process < processes; ++process) BOOST_TEST(heard[static_cast<std::size_t>(process)] == 2 * (10 * process + 1));
  }
}

BOOST_AUTO_TEST_CASE(the_arithmetic_of_the_reference_is_that_of_one_process) {
  const auto data = samples(8);
  auto options = options_for(AdapterKind::matryoshka, 4, 1);
  options.precision = Precision::bf16_reference;
  BOOST_CHECK_EXCEPTION(test::ThreadProcesses::run(2, [&](ProcessGroup& group) { (void)tuner_of(data, options, group); }), UsageError,
                        [](const UsageError& error) { return std::string(error.what()).find("there are 2") != std::string::npos; });
}
