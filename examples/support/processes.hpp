#pragma once
/// \file
/// A program that a launcher of MPI has started several times, as one run: `mpirun -np 4 finetune ...`, `srun finetune ...`.
/// Each process has the cores it was given; those that were given the same share them (unless OMP_NUM_THREADS says otherwise).
/// Errors  UsageError where the processes cannot find each other, and where they were not started alike.

#include <linden/train/process_group.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "support/cli.hpp"
#include "support/fingerprint.hpp"
#include "support/runs.hpp"  // differing_settings

namespace linden::examples {

/// The processes of this run: it alone, unless a launcher started it. Begins MPI at the first call; instances/processes.cpp.
[[nodiscard]] ProcessGroup& processes();

/// Where the build has NCCL and every process has a GPU of its own, gradients are added between GPUs; elsewhere by way of the host.
/// Called in all processes when their GPUs are in use; the group's sums are those of what is returned; instances/processes.cpp.
[[nodiscard]] std::unique_ptr<DeviceSums> sums_between_gpus(ProcessGroup& group);

/// --patience
inline void add_patience(CLI::App& app, double& seconds) {
  app.add_option("--patience", seconds, "seconds to wait for another process that gives no sign of life (or saves a state), beside 3 times the longest own work")
      ->capture_default_str()
      ->check(positive_number());
}

/// Refuses processes that would not do the same work: all must have these settings (an object), and be the same program.
inline void agree(ProcessGroup& group, nlohmann::json settings) {
  if (group.size() == 1) return;
  settings["program"] = fingerprint_of_file("/proc/self/exe");
  const auto all = group.gather(settings.dump());
  together(group, [&] {
    for (int process = 1; process < group.size(); ++process) {
      const auto its = nlohmann::json::parse(all[static_cast<std::size_t>(process)]);
      const std::string differences = differing_settings(nlohmann::json::parse(all[0]), its, {"in process 0", "in " + group.name(process)});
      if (!differences.empty()) throw UsageError("the processes were not started alike: " + differences);
    }
  });
}

}  // namespace linden::examples
