#define BOOST_TEST_MODULE kernels_engine
#include "support/engine_of.hpp"

#include <linden/model/save_llama.hpp>

#include "io/temporary_folder.hpp"
#include "kernels/kernel_test.hpp"
#include "support/cuda_runtime.cuh"
#include "support/small_llama.hpp"

using namespace linden;
using namespace linden::examples;
using namespace linden::test;

// The programs' engine on a device: what it keeps, what it refuses, and that it does as the CPU's.
namespace {

struct Folder : TemporaryFolder {
  Folder() { save_llama(Llama<Small, float>::random(3, 0.3), path(), {.bos = 1, .eos = 2}); }
  [[nodiscard]] EngineOptions options() const {
    EngineOptions o;
    o.model = path();
    return o;
  }
};

std::vector<Sample> samples() {
  return {{{1, 5, 7, 2, 9}, {Sample::ignored, 5, 7, 2, 9}, 0}, {{3, 3, 8}, {Sample::ignored, Sample::ignored, 8}, 1}, {{4, 4}, {Sample::ignored, 4}, 2}};
}

FineTuneOptions training() {
  FineTuneOptions o;
  o.adapter = {.kind = AdapterKind::matryoshka, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}};
  o.steps = 3;
  o.batch = 2;
  o.accumulate = 1;
  return o;
}

using Here = EngineOf<Small, HostRuntime>;
using There = EngineOf<Small, CudaRuntime<float>>;

template <class Engine>
std::vector<double> losses(const EngineOptions& options, const std::filesystem::path& adapter) {
  Engine engine(options);
  const auto data = samples();
  const auto run = engine.fine_tune(data, training(), one_process());
  std::vector<double> all;
  while (!run->finished()) all.push_back(run->step().loss);
  run->save(adapter, "base");
  return all;
}

template <class Engine>
std::vector<double> scores(const EngineOptions& options, const std::filesystem::path& adapter) {
  Engine engine(options);
  const auto model = engine.adapted(adapter, {});
  std::vector<double> all;
  const std::vector<ScoredDocument> documents{samples()};
  model->score(documents, std::vector{0, 2, 4}, [&](std::size_t, std::span<const SampleScore> found) {
    for (const SampleScore& score : found) all.push_back(score.loss);
  });
  return all;
}
}  // namespace

BOOST_FIXTURE_TEST_CASE(a_device_does_as_the_cpu, Folder) {
  const auto here = losses<Here>(options(), path() / "here"), there = losses<There>(options(), path() / "there");
  BOOST_REQUIRE(there.size() == here.size());
  for (std::size_t i = 0; i < here.size(); ++i) BOOST_TEST(std::abs(there[i] - here[i]) < 1e-5 * here[i]);
  const auto scores_here = scores<Here>(options(), path() / "here"), scores_there = scores<There>(options(), path() / "there");
  BOOST_REQUIRE(scores_there.size() == 9U);
  for (std::size_t i = 0; i < 9; ++i) BOOST_TEST(std::abs(scores_there[i] - scores_here[i]) < 1e-5 * scores_here[i]);
}

BOOST_FIXTURE_TEST_CASE(what_is_kept_changes_nothing, Folder) {
  EngineOptions o = options();
  std::vector<std::vector<double>> all;
  for (const Keep keep : {Keep::everything, Keep::costly, Keep::inputs}) {
    o.keep = keep;
    all.push_back(losses<There>(o, path() / "adapter"));
  }
  BOOST_TEST((all[0] == all[1] && all[1] == all[2]));
}

#ifndef __CUDACC__
BOOST_FIXTURE_TEST_CASE(too_little_memory_names_the_batch_that_would_fit, Folder) {
  using namespace cuda::simulated;
  const std::size_t all = free_memory, scratch = std::size_t(512) << 20U;
  const auto refusal = [&](std::size_t left) -> std::string {
    free_memory = scratch + left;
    try {
      losses<There>(options(), path() / "adapter");
    } catch (const DeviceError& error) {
      free_memory = all;
      return error.what();
    }
    free_memory = all;
    return "";
  };
  std::size_t needed = 0;  // by the most frugal policy, for both sequences
  const std::string none = refusal(0);
  BOOST_TEST(none.find("micro-batches of 2 sequences (8 tokens at most) need ") != std::string::npos, none);
  BOOST_TEST(none.find(" 0 are free; not even one sequence would fit") != std::string::npos, none);
  needed = std::stoul(none.substr(none.find(" need ") + 6));
  BOOST_TEST(refusal(needed) == "");
  BOOST_TEST(refusal(needed - 1).find("--batch 1 would fit") != std::string::npos);
}
#endif
