// From the launcher's environment to the processes it started.
#include "support/processes.hpp"

#include <sched.h>

#include <array>
#include <cstdlib>
#include <linden/core/parallel.hpp>
#ifdef LINDEN_MPI
#include <linden/distributed/mpi_group.hpp>
#endif
#ifdef LINDEN_NCCL
#include <linden/distributed/nccl_sums.hpp>
#endif

namespace linden::examples {

namespace {

/// How many processes a launcher says it has started; 1 without one. (In a script of Slurm's, outside srun, there is none.)
int launched() {
  int most = 1;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"})
    if (const char* const value = std::getenv(name)) most = std::max(most, std::atoi(value));
  return most;
}

#if defined(LINDEN_MPI) && defined(_OPENMP)
/// The host and the processors that this process may use, in one word.
std::string place(const std::string& host) {
  cpu_set_t cores;
  std::string word = host + ' ';
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return word;
  for (std::size_t core = 0; core < CPU_SETSIZE; ++core) word += CPU_ISSET(core, &cores) ? '1' : '0';
  return word;
}

/// Processes that may use the same processors each take their part of them.
void share_processors(MpiGroup& group) {
  const auto places = group.gather(place(group.host(group.index())));
  const auto sharing = std::ranges::count(places, places[static_cast<std::size_t>(group.index())]);
  if (std::getenv("OMP_NUM_THREADS") == nullptr) omp_set_num_threads(std::max(1, omp_get_num_procs() / static_cast<int>(sharing)));
}
#endif

}  // namespace

ProcessGroup& processes() {
  const int expected = launched();
#ifdef LINDEN_MPI
  if (expected == 1 && std::getenv("PMIX_RANK") == nullptr) return one_process();
  static MpiGroup group;
  if (group.size() < expected)
    throw UsageError(text("was started ", expected, " times, but MPI knows of ", group.size(), group.size() == 1 ? " process" : " processes",
                          "; start it with the launcher of the MPI it was built with, or with srun --mpi=pmix"));
#ifdef _OPENMP
  static const bool shared = (share_processors(group), true);
  (void)shared;
#endif
  return group;
#else
  if (expected == 1) return one_process();
  throw UsageError(text("was started ", expected, " times, but this build has no MPI; configure it with LINDEN_MPI=ON"));
#endif
}

std::unique_ptr<DeviceSums> sums_between_gpus([[maybe_unused]] ProcessGroup& group) {
#ifdef LINDEN_NCCL
  int gpus = 0;
  if (cudaGetDeviceCount(&gpus) != cudaSuccess) gpus = 0;
  double without_own = group.index_on_host() < gpus ? 0 : 1;
  group.sum(std::span(&without_own, 1));
  if (group.size() > 1 && without_own == 0) return std::make_unique<NcclSums>(group);
#endif
  return nullptr;
}

}  // namespace linden::examples
