#!/usr/bin/env bash
# How much faster N processes of one thread are than one: the same steps by one and by N processes in turn, ROUNDS times; medians.
#   bash bench/distributed/scaling.sh [N [ROUNDS]]
# Prints for every step tokens/s by one and by N, their ratio, the part of the time that process 0 waits, and the MB that a process
# sends in a step beside the least.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
processes=${1:-2} rounds=${2:-5}
bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libpcre2-dev libbenchmark-dev libopenmpi-dev openmpi-bin python3
cmake --preset release -B build/distributed -DLINDEN_MPI=ON -DLINDEN_TESTS=OFF -DLINDEN_EXAMPLES=OFF --log-level=WARNING >/dev/null
cmake --build build/distributed --parallel "$(nproc)" --target bench_distributed_step >/dev/null

measured=$(mktemp -d)
trap 'rm -rf "$measured"' EXIT
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for ((round = 0; round < rounds; ++round)); do
  for n in 1 "$processes"; do
    mpirun -np "$n" build/distributed/bin/bench/distributed_step --benchmark_filter=step --benchmark_format=json >"$measured/$n.$round.json" 2>/dev/null
  done
done
python3 - "$measured" "$processes" "$rounds" <<'END'
import json, statistics, sys
folder, processes, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
runs = {n: [json.load(open(f"{folder}/{n}.{r}.json"))["benchmarks"] for r in range(rounds)] for n in ("1", processes)}
print("| step | tokens/s by 1 | by", processes, "| ratio (least, most) | waiting | MB sent | least |\n|---|---|---|---|---|---|---|")
for b, first in enumerate(runs["1"][0]):
    of = lambda n, key: [run[b][key] for run in runs[n]]
    ratios = [many / one for one, many in zip(of("1", "tokens/s"), of(processes, "tokens/s"))]
    median = statistics.median
    print(f"| {first['name'].split('/')[1]} | {median(of('1', 'tokens/s')):.0f} | {median(of(processes, 'tokens/s')):.0f} "
          f"| {median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) | {100 * median(of(processes, 'waiting')):.1f} % "
          f"| {median(of(processes, 'MB')):.3f} | {median(of(processes, 'least')):.3f} |")
END
