#define BOOST_TEST_MODULE kernels_fine_tune
#include "../../kernels/fine_tune.cuh"

#include <linden/train/fine_tune.hpp>

#include "io/temporary_folder.hpp"
#include "kernels/kernel_test.hpp"
#include "support/counting_samples.hpp"
#include "support/not_finite.hpp"
#include "support/small_llama.hpp"

using namespace linden;
using namespace linden::test;

namespace {

template <class T>
using DeviceTuner = FineTuner<Small, T, Keep::costly, cuda::OnDevice, cuda::DeviceLlama<Small, T>>;

std::vector<Sample> samples(std::size_t count) {
  return counting_samples(count, {.values = 17, .shortest = 1, .spread = 9, .prompt = 1});
}

FineTuneOptions options(AdapterKind kind, std::size_t steps) {
  FineTuneOptions o;
  o.adapter = {.kind = kind, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}};
  o.learning_rate = 1e-2;
  o.steps = steps;
  o.batch = 2;
  o.accumulate = 1;
  return o;
}

const Llama<Small, float>& model() {
  static const auto random = Llama<Small, float>::random(11, 0.2);
  return random;
}

struct Run {
  std::vector<double> losses, norms;
  std::vector<float> adapter;
};

template <class Tuner>
Run run(Tuner& tuner) {
  Run r;
  while (!tuner.finished()) {
    const StepReport step = tuner.step();
    r.losses.push_back(step.loss);
    r.norms.push_back(step.gradient_norm);
  }
  r.adapter.assign(tuner.adapter().parameters().begin(), tuner.adapter().parameters().end());
  return r;
}

template <class T>
Run on_device(const FineTuneOptions& o, std::span<const Sample> data) {
  cuda::Device device;
  DeviceTuner<T> tuner(cuda::DeviceLlama<Small, T>(model(), device), data, o, cuda::OnDevice(device));
  return run(tuner);
}

Run on_cpu(const FineTuneOptions& o, std::span<const Sample> data) {
  FineTuner<Small, float> tuner(model(), data, o);
  return run(tuner);
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]) / std::abs(b[i]));
  return largest;
}
/// Sums of one process: what they are told.
class Listening final : public DeviceSums {
 public:
  std::size_t started = 0;
  int finishes = 0;
  bool unfinished = false;

  void start(float* values, std::size_t count, void*) override {
    started += values != nullptr ? count : 0;
    unfinished = true;
  }
  void finish() override {
    ++finishes;
    unfinished = false;
  }
  [[nodiscard]] double bytes_sent() const override { return 0; }
};

/// A group of one process that has them.
class Alone final : public ProcessGroup {
 public:
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] int index() const override { return 0; }
  void sum(std::span<float>) override { throw Error("the gradients came to the host"); }
  void sum(std::span<double>) override {}
  [[nodiscard]] std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
  void report(const std::string&, const OnReport&) override {}
  void end_reports(const OnReport&) override {}
};

constexpr std::array kinds{AdapterKind::lora, AdapterKind::dylora, AdapterKind::matryoshka, AdapterKind::stratified};
}  // namespace

namespace {
void expect_as_cpu(AdapterKind kind, std::size_t steps, std::size_t accumulate) {
  const auto data = samples(20);
  FineTuneOptions o = options(kind, steps);
  o.accumulate = accumulate;
  const Run here = on_cpu(o, data), there = on_device<float>(o, data);
  BOOST_TEST(there.losses.size() == steps);
  BOOST_TEST(largest_difference(there.losses, here.losses) < 1e-4, to_string(kind));
  BOOST_TEST(largest_difference(there.norms, here.norms) < 1e-3, to_string(kind));
}
}  // namespace

BOOST_AUTO_TEST_CASE(fifty_steps_follow_the_cpu_in_float) { expect_as_cpu(AdapterKind::matryoshka, 50, 1); }
BOOST_AUTO_TEST_CASE(every_kind_follows_the_cpu_in_float) {
  for (const AdapterKind kind : kinds) expect_as_cpu(kind, 5, 2);
}

BOOST_AUTO_TEST_CASE(bfloat16_learns_as_float_does) {
  const auto data = samples(24);
  const FineTuneOptions o = options(AdapterKind::matryoshka, 10);
  const Run here = on_cpu(o, data), there = on_device<bfloat16>(o, data);
  BOOST_TEST(largest_difference(there.losses, here.losses) < 3e-2);
}

// Every value is rounded where the CPU rounds it: the sums inside of a product are all that differs.
BOOST_AUTO_TEST_CASE(the_published_arithmetic_follows_the_cpus) {
  const auto data = samples(20);
  for (const AdapterKind kind : {AdapterKind::matryoshka, AdapterKind::dylora}) {
    FineTuneOptions o = options(kind, 6);
    o.accumulate = 2;
    o.max_gradient_norm = 0.5;
    o.precision = Precision::bf16_reference;
    const Run here = on_cpu(o, data), there = on_device<float>(o, data), narrow = on_device<bfloat16>(o, data);
    BOOST_TEST(largest_difference(there.losses, here.losses) < 2e-3, to_string(kind));
    BOOST_TEST(largest_difference(there.norms, here.norms) < 1e-2, to_string(kind));
    BOOST_TEST(largest_difference(narrow.losses, here.losses) < 3e-2, to_string(kind));
    for (const float parameter : there.adapter) BOOST_TEST(rounded_to_bf16(parameter) == parameter);
    BOOST_TEST((there.adapter != on_device<float>(options(kind, 6), data).adapter));
  }
}

BOOST_AUTO_TEST_CASE(two_runs_have_the_same_bits) {
  const auto data = samples(10);
  const FineTuneOptions o = options(AdapterKind::stratified, 4);
  const Run a = on_device<bfloat16>(o, data), b = on_device<bfloat16>(o, data);
  BOOST_TEST((a.losses == b.losses && a.adapter == b.adapter));
}

BOOST_AUTO_TEST_CASE(a_step_without_targets_changes_nothing) {
  auto data = samples(6);
  for (Sample& sample : data) std::ranges::fill(sample.labels, Sample::ignored);
  const FineTuneOptions o = options(AdapterKind::lora, 1);
  LlamaAdapter<Small, float> initial(o.adapter);
  initial.initialise(o.initialisation, o.seed);
  const Run r = on_device<float>(o, data);
  BOOST_TEST(r.losses[0] == 0.0);
  BOOST_TEST(std::ranges::equal(r.adapter, initial.parameters()));
}

BOOST_AUTO_TEST_CASE(gradients_that_are_not_finite_change_nothing) {
  cuda::Device device;
  expect_no_update_where_not_finite<Small, bfloat16>(cuda::OnDevice(device));
}

BOOST_AUTO_TEST_CASE(a_resumed_run_has_the_bits_of_one_that_never_stopped) {
  const auto data = samples(7);
  const TemporaryFolder folder;
  for (const Precision precision : {Precision::fp32, Precision::bf16_reference}) {
    FineTuneOptions o = options(AdapterKind::stratified, 6);
    o.precision = precision;
    cuda::Device device;
    const cuda::DeviceLlama<Small, bfloat16> weights(model(), device);
    DeviceTuner<bfloat16> whole(weights, data, o, cuda::OnDevice(device)), resumed(weights, data, o, cuda::OnDevice(device));
    for (int i = 0; i < 3; ++i) whole.step();
    whole.save_state(folder.path() / "state");
    resumed.resume(folder.path() / "state");
    const Run a = run(whole), b = run(resumed);
    BOOST_TEST((a.losses == b.losses && a.norms == b.norms && a.adapter == b.adapter));
  }
}

#ifndef __CUDACC__
// What the simulated runtime counts: a step takes no memory and waits twice, for the norm and the loss; where
// batches stay of one size, blocks are replayed as graphs, and the results stay the same.
BOOST_AUTO_TEST_CASE(a_step_allocates_nothing_waits_only_at_its_end_and_replays_blocks) {
  std::vector<Sample> data = samples(12);
  for (Sample& sample : data) sample = data[1];
  const FineTuneOptions o = options(AdapterKind::matryoshka, 5);
  cuda::Device device;
  DeviceTuner<float> tuner(cuda::DeviceLlama<Small, float>(model(), device), data, o, cuda::OnDevice(device));
  std::vector<double> losses;
  for (int seen = 0; seen < 2; ++seen) losses.push_back(tuner.step().loss);
  std::size_t launches = 0;
  while (!tuner.finished()) {
    using namespace cuda::simulated;
    const std::size_t allocated = allocations, waited = waits, before = replays;
    launches = cuda::simulated::launches;
    losses.push_back(tuner.step().loss);
    launches = cuda::simulated::launches - launches;
    BOOST_TEST(allocations == allocated);
    BOOST_TEST(waits == waited + 2);
    BOOST_TEST(replays == before + 2 + 2 * Small::layers);  // embedding, head, blocks both ways
  }
  BOOST_TEST(launches < 30U);
  BOOST_TEST(largest_difference(losses, on_cpu(o, data).losses) < 1e-4);
}
#endif

BOOST_AUTO_TEST_CASE(gradients_are_added_on_devices_where_the_group_can) {
  const auto data = samples(12);
  const auto o = options(AdapterKind::stratified, 4);
  const Run expected = on_device<float>(o, data);
  Listening sums;
  Alone group;
  group.set_device_sums(&sums);
  cuda::Device device;
  DeviceTuner<float> tuner(cuda::DeviceLlama<Small, float>(model(), device), data, o, cuda::OnDevice(device), group);
  const Run found = run(tuner);
  BOOST_TEST((found.adapter == expected.adapter));
  BOOST_TEST(sums.started == 4 * expected.adapter.size());  // every gradient once a step
  BOOST_TEST(sums.finishes == 4);
  BOOST_TEST(!sums.unfinished);
}
