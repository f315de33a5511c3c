#define BOOST_TEST_MODULE fine_tune
#include <linden/train/fine_tune.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "io/temporary_folder.hpp"
#include "support/counting_samples.hpp"
#include "support/failing_allocations.hpp"
#include "support/not_finite.hpp"
#ifdef _OPENMP
#include <omp.h>
#endif

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

std::vector<Sample> samples(std::size_t count) {
  return test::counting_samples(count, {.values = 38, .shortest = 6, .spread = 30, .prompt = 3});
}

FineTuneOptions options_for(AdapterKind kind) {
  FineTuneOptions options;
  options.adapter.kind = kind;
  options.adapter.full_rank = 8;
  options.adapter.train_ranks = RankSet{1, 2, 4, 8};
  options.learning_rate = 1e-2;
  options.steps = 12;
  options.batch = 5;
  options.accumulate = 2;
  return options;
}

const Llama<Small, float>& model() {
  static const auto random = Llama<Small, float>::random(11, 0.1);
  return random;
}

struct Run {
  std::vector<StepReport> steps;
  std::vector<float> adapter;
};

Run train(const FineTuneOptions& options, std::span<const Sample> data) {
  FineTuner<Small, float> tuner(model(), data, options);
  Run run;
  while (!tuner.finished()) run.steps.push_back(tuner.step());
  run.adapter.assign(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
  return run;
}

/// An adapter's parameters alone, as somebody else's safetensors file.
void adapter_file(const std::filesystem::path& file, const LlamaAdapter<Small, float>& adapter) {
  const std::span<const float> values = adapter.parameters();
  const std::array tensors{stored_tensor<float>("parameters", {values.size()}, values)};
  write_safetensors(file, tensors);
}

constexpr std::array kinds{AdapterKind::lora, AdapterKind::dylora, AdapterKind::matryoshka, AdapterKind::stratified};
}  // namespace

BOOST_AUTO_TEST_CASE(every_kind_learns) {
  const auto data = samples(40);
  for (const AdapterKind kind : kinds) {
    FineTuneOptions options = options_for(kind);
    options.steps = 60;
    const Run run = train(options, data);
    BOOST_TEST(run.steps.back().loss < 0.8 * run.steps.front().loss, to_string(kind));
    BOOST_TEST(run.steps.size() == 60U);
  }
}

BOOST_AUTO_TEST_CASE(same_bits_for_any_number_of_threads) {
  const auto data = samples(40);
  for (const AdapterKind kind : kinds) {
    const Run first = train(options_for(kind), data);
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      const Run again = train(options_for(kind), data);
      BOOST_TEST((again.adapter == first.adapter), to_string(kind) << " with " << threads << " threads");
    }
    omp_set_num_threads(before);
#endif
    BOOST_TEST((train(options_for(kind), data).adapter == first.adapter));
  }
}

BOOST_AUTO_TEST_CASE(the_learning_rate_falls_linearly_and_tokens_are_counted) {
  const auto data = samples(23);  // 23 / 5: five micro-batches, of 3 in the last; three steps an epoch
  FineTuneOptions options = options_for(AdapterKind::lora);
  options.steps = 0;
  options.epochs = 2;
  const Run run = train(options, data);
  BOOST_REQUIRE_EQUAL(run.steps.size(), 6U);
  for (std::size_t t = 0; t < 6; ++t) BOOST_TEST(run.steps[t].learning_rate == 1e-2 * double(6 - t) / 6.0, boost::test_tools::tolerance(1e-15));
  std::size_t all = 0;
  for (const Sample& sample : data) all += sample.ids.size();
  for (const std::size_t epoch : {0U, 3U})
    BOOST_TEST(run.steps[epoch].tokens + run.steps[epoch + 1].tokens + run.steps[epoch + 2].tokens == all);
}

// The loss of an accumulated step is the mean over the tokens of all its micro-batches, not the mean of their means: how a
// step is cut into micro-batches changes nothing but rounding.
BOOST_AUTO_TEST_CASE(samples_come_in_the_order_of_their_epoch) {
  const auto data = samples(7);
  FineTuneOptions options = options_for(AdapterKind::lora);
  options.batch = 3;
  options.accumulate = 1;
  options.steps = 6;  // two epochs
  FineTuner<Small, float> tuner(model(), data, options);
  std::vector<std::size_t> seen, expected = epoch_order(7, options.seed, 0);
  while (!tuner.finished()) {
    tuner.step();
    seen.insert(seen.end(), tuner.samples_of_step().begin(), tuner.samples_of_step().end());
  }
  std::ranges::copy(epoch_order(7, options.seed, 1), std::back_inserter(expected));
  BOOST_TEST(seen == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(accumulation_is_a_mean_over_tokens) {
  const auto data = samples(40);
  FineTuneOptions whole = options_for(AdapterKind::matryoshka), cut = whole;
  whole.batch = 10;
  whole.accumulate = 1;
  cut.batch = 2;
  cut.accumulate = 5;
  const Run a = train(whole, data), b = train(cut, data);
  for (std::size_t t = 0; t < a.steps.size(); ++t) {
    BOOST_TEST(a.steps[t].loss == b.steps[t].loss, boost::test_tools::tolerance(2e-5));
    BOOST_TEST(a.steps[t].gradient_norm == b.steps[t].gradient_norm, boost::test_tools::tolerance(2e-3));
  }
}

// With the one rank R to train, every kind is LoRA.
BOOST_AUTO_TEST_CASE(all_kinds_are_lora_when_only_the_full_rank_is_trained) {
  const auto data = samples(20);
  FineTuneOptions options = options_for(AdapterKind::lora);
  options.adapter.train_ranks = RankSet{8};
  const Run lora = train(options, data);
  for (const AdapterKind kind : kinds) {
    options.adapter.kind = kind;
    BOOST_TEST((train(options, data).adapter == lora.adapter), to_string(kind));
  }
}

BOOST_AUTO_TEST_CASE(dylora_leaves_what_it_does_not_draw_alone) {
  const auto data = samples(20);
  FineTuneOptions options = options_for(AdapterKind::dylora);
  options.adapter.train_ranks = RankSet{3};
  FineTuner<Small, float> tuner(model(), data, options);
  const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
  LlamaAdapter<Small, float> initial(options.adapter);
  std::ranges::copy(before, initial.parameters().begin());
  while (!tuner.finished()) tuner.step();
  for (std::size_t l = 0; l < 2; ++l) {
    const auto &now = tuner.adapter().factors().layers[l].q, &then = initial.factors().layers[l].q;
    for (long i = 0; i < now.A.rows(); ++i)
      for (long j = 0; j < 8; ++j) BOOST_TEST((now.A(i, j) == then.A(i, j)) == (j >= 3));
    for (long i = 0; i < 8; ++i)
      for (long j = 0; j < now.B.columns(); ++j) BOOST_TEST((now.B(i, j) == 0.0F) == (i >= 3));
  }
}

BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_changes_nothing_and_says_so) {
  auto data = samples(10);
  data[3].ids[2] = 0;  // which no other sample has
  auto broken = Llama<Small, float>::random(11, 0.1);
  broken.weights().embedding(0, 0) = std::numeric_limits<float>::quiet_NaN();
  for (const Precision precision : {Precision::fp32, Precision::bf16_reference}) {
    FineTuneOptions options = options_for(AdapterKind::matryoshka);
    options.precision = precision;
    options.batch = 1;
    options.accumulate = 1;
    options.steps = 10;
    FineTuner<Small, float> tuner(broken, data, options);
    while (!tuner.finished()) {
      const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
      const StepReport report = tuner.step();
      const std::size_t sample = tuner.samples_of_step()[0];
      BOOST_TEST(tuner.samples_of_step().size() == 1U);
      BOOST_TEST(report.applied == (sample != 3));
      BOOST_TEST(report.applied == std::isfinite(report.loss));
      BOOST_TEST(std::ranges::equal(before, tuner.adapter().parameters()) == !report.applied);
    }
    for (const float parameter : tuner.adapter().parameters()) BOOST_REQUIRE(std::isfinite(parameter));
  }
}

namespace {
/// A run saved before every step, and gone on from some of those states: each ends in the same bits.
void expect_exact_resume(const Llama<Small, float>& base, std::span<const Sample> data, const FineTuneOptions& options) {
  const test::TemporaryFolder folder;
  const auto state_after = [&](std::size_t steps) { return folder.path() / text("after", steps); };
  FineTuner<Small, float> whole(base, data, options);
  std::vector<StepReport> reports;
  for (; !whole.finished(); reports.push_back(whole.step())) whole.save_state(state_after(whole.steps_done()));
  whole.save_state(state_after(options.steps));
  // Within epochs, where one begins, before the first and after the last step.
  for (const std::size_t stop : {std::size_t(0), std::size_t(3), std::size_t(5), options.steps}) {
    FineTuner<Small, float> resumed(base, data, options);
    resumed.resume(state_after(stop));
    BOOST_TEST(resumed.steps_done() == stop);
    while (!resumed.finished()) {
      const StepReport report = resumed.step(), &there = reports[report.step - 1];
      BOOST_TEST(report.applied == there.applied);
      if (report.applied) BOOST_TEST((report.loss == there.loss && report.gradient_norm == there.gradient_norm));
      BOOST_TEST(report.learning_rate == there.learning_rate);
    }
    resumed.save_state(folder.path() / "end");
    BOOST_TEST((test::content_of(folder.path() / "end") == test::content_of(state_after(options.steps))),
               to_string(options.adapter.kind) << ", stopped after " << stop);
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_resumed_run_has_the_bits_of_one_that_never_stopped) {
  for (const AdapterKind kind : kinds) expect_exact_resume(model(), samples(43), options_for(kind));  // epochs of 5 steps, the last short
  FineTuneOptions options = options_for(AdapterKind::matryoshka);
  options.precision = Precision::bf16_reference;
  expect_exact_resume(model(), samples(43), options);
}

BOOST_AUTO_TEST_CASE(steps_that_changed_nothing_are_resumed_exactly_too) {
  auto data = samples(5);
  data[3].ids[2] = 0;  // which no other sample has
  auto broken = Llama<Small, float>::random(11, 0.1);
  broken.weights().embedding(0, 0) = std::numeric_limits<float>::quiet_NaN();
  std::ranges::fill(data[1].labels, Sample::ignored);  // a step without targets draws no rank
  for (const AdapterKind kind : {AdapterKind::dylora, AdapterKind::stratified}) {
    FineTuneOptions options = options_for(kind);
    options.batch = 1;
    options.accumulate = 1;
    expect_exact_resume(broken, data, options);
  }
}

BOOST_AUTO_TEST_CASE(a_state_that_does_not_fit_is_refused_and_nothing_changes) {
  const auto data = samples(10);
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "state";
  FineTuneOptions options = options_for(AdapterKind::dylora);
  FineTuner<Small, float> saved(model(), data, options);
  for (int i = 0; i < 3; ++i) saved.step();
  saved.save_state(file);
  BOOST_CHECK_THROW(saved.resume(file), UsageError);  // it has steps of its own

  const auto refused = [&](const FineTuneOptions& other, const std::string& message) {
    FineTuner<Small, float> tuner(model(), data, other), untouched(model(), data, other);
    BOOST_CHECK_EXCEPTION(tuner.resume(file), DataError, [&](const DataError& e) {
      BOOST_TEST(std::string(e.what()).find(file.string() + ": " + message) == 0U, e.what());
      return true;
    });
    BOOST_TEST(tuner.steps_done() == 0U);
    BOOST_TEST(std::ranges::equal(tuner.adapter().parameters(), untouched.adapter().parameters()));
    BOOST_TEST(tuner.step().loss == untouched.step().loss);
  };
  FineTuneOptions wider = options, shorter = options;
  wider.adapter.full_rank = 16;
  shorter.steps = 2;
  refused(wider, "tensor 'parameters': found shape [");
  refused(shorter, "was saved after 3 steps, expected at most this run's 2");
  const std::string whole = test::content_of(file);
  write_atomically(file, std::string_view(whole).substr(0, whole.size() - 1));
  refused(options, "tensors take");
  adapter_file(file, saved.adapter());
  refused(options, "is not the state of a fine-tuning run");
}

BOOST_AUTO_TEST_CASE(gradients_that_are_not_finite_change_nothing) {
  test::expect_no_update_where_not_finite<Small, float>(Host());
}

BOOST_AUTO_TEST_CASE(a_step_without_targets_changes_nothing) {
  auto data = samples(10);
  for (Sample& sample : data) std::ranges::fill(sample.labels, Sample::ignored);
  FineTuneOptions options = options_for(AdapterKind::lora);
  FineTuner<Small, float> tuner(model(), data, options);
  const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
  const StepReport report = tuner.step();
  BOOST_TEST(report.loss == 0.0);
  BOOST_TEST(std::ranges::equal(before, tuner.adapter().parameters()));
}

// ---- out of memory ---------------------------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_step_that_runs_out_of_memory_can_be_made_again, test::TemporaryFolder) {
  const auto data = samples(23);
  for (const AdapterKind kind : kinds) {
    FineTuneOptions options = options_for(kind);
    options.steps = 4;
    const Run undisturbed = train(options, data);  // (and every thread has the room its kernels want)
    FineTuner<Small, float> tuner(model(), data, options);
    long failed = 0;
    while (!tuner.finished()) {
      const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
      const std::size_t steps = tuner.steps_done();
      failed += test::fail_every_allocation([&] { (void)tuner.step(); }, [&] {
        BOOST_TEST(tuner.steps_done() == steps);
        BOOST_TEST((std::ranges::equal(tuner.adapter().parameters(), before)));
      });
    }
    BOOST_TEST((failed > 0 || !test::allocations_can_fail));
    BOOST_TEST((std::ranges::equal(tuner.adapter().parameters(), undisturbed.adapter)), to_string(kind));
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_that_cannot_be_resumed_for_want_of_memory_is_as_it_was, test::TemporaryFolder) {
  const auto data = samples(23);
  const auto state = path() / "state.safetensors";
  for (const AdapterKind kind : kinds) {
    const FineTuneOptions options = options_for(kind);
    const Run undisturbed = train(options, data);
    {
      FineTuner<Small, float> first(model(), data, options);
      for (int step = 0; step < 7; ++step) (void)first.step();
      first.save_state(state);
    }
    FineTuner<Small, float> tuner(model(), data, options);
    const std::vector<float> before(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
    const long failed = test::fail_every_allocation([&] { tuner.resume(state); }, [&] {
      BOOST_TEST(tuner.steps_done() == 0U);
      BOOST_TEST((std::ranges::equal(tuner.adapter().parameters(), before)));
    }, /*at_least=*/512);
    BOOST_TEST((failed >= 3 || !test::allocations_can_fail));  // parameters and two moments
    while (!tuner.finished()) (void)tuner.step();
    BOOST_TEST((std::ranges::equal(tuner.adapter().parameters(), undisturbed.adapter)), to_string(kind));
  }
}
