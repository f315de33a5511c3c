// Whole training steps shared out between processes: mpirun -np N bin/bench/distributed_step. Every process takes its part of the
// step's sequences of 256 tokens; the adapters' gradients are summed. Counters: tokens/s of all processes together; MB that a process
// sends in a step, and least, what the sums must send (2 (N - 1) / N gradients of 4 bytes); waiting, the part of its time that
// process 0 spends on the others. sum/BYTES is the sum alone. Process 0 reports.
#include <benchmark/benchmark.h>

#include <linden/distributed/mpi_group.hpp>
#include <linden/train/fine_tune.hpp>

namespace {
using namespace linden;

MpiGroup* processes = nullptr;

template <class C>
void step(benchmark::State& state) {
  constexpr std::size_t length = 256;
  const auto batch = static_cast<std::size_t>(state.range(0));
  static const auto model = Llama<C, float>::random(7, 0.05);
  std::vector<Sample> samples(4 * batch);
  for (std::size_t s = 0; s < samples.size(); ++s)
    for (std::size_t t = 0; t < length; ++t) {
      samples[s].ids.push_back(static_cast<std::int32_t>((s * 31 + t * t * 7) % static_cast<std::size_t>(C::vocabulary)));
      samples[s].labels.push_back(samples[s].ids.back());
    }
  FineTuneOptions options;
  options.adapter.kind = AdapterKind::matryoshka;
  options.adapter.full_rank = 32;
  options.adapter.train_ranks = RankSet::powers_of_two(32);
  options.batch = batch;
  options.steps = 1'000'000;
  options.accumulate = 1;
  FineTuner<C, float> tuner(model, samples, options, Host(), *processes);
  for (int warm = 0; warm < 2; ++warm) (void)tuner.step();
  const Traffic before = processes->traffic();
  double seconds = 0;
  for (auto _ : state) seconds += tuner.step().seconds;
  const Traffic after = processes->traffic();
  const double steps = static_cast<double>(state.iterations()), size = processes->size();
  state.counters["tokens/s"] = static_cast<double>(batch * length) * steps / seconds;
  state.counters["MB"] = (after.bytes_sent - before.bytes_sent) / steps / 1e6;
  state.counters["least"] = 2 * (size - 1) / size * 4e-6 * static_cast<double>(tuner.adapter().parameters().size());
  state.counters["waiting"] = (after.seconds - before.seconds) / seconds;
}

void sum(benchmark::State& state) {
  std::vector<float> values(static_cast<std::size_t>(state.range(0)) / sizeof(float), 1.0F);
  for (auto _ : state) processes->sum(std::span(values));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

/// What the other processes report: nothing.
class Silence : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};
}  // namespace

int main(int argc, char** argv) {
  MpiGroup group;
  processes = &group;
  benchmark::Initialize(&argc, argv);
  // All processes must make as many steps, so their number is fixed.
  benchmark::RegisterBenchmark("step/tiny", step<Stories260K>)->Arg(8)->Iterations(60)->UseRealTime()->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("step/mid", step<Stories15M>)->Arg(4)->Iterations(6)->UseRealTime()->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("sum", sum)->RangeMultiplier(32)->Range(8, 256 << 20)->Iterations(20)->UseRealTime()->Unit(benchmark::kMicrosecond);
  Silence silence;
  if (group.index() == 0)
    benchmark::RunSpecifiedBenchmarks();
  else
    benchmark::RunSpecifiedBenchmarks(&silence);
}
