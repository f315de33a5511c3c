#!/usr/bin/env bash
# Builds the benchmarks, runs them and writes what they measured into bench/results/.
#
#   bash bench/run.sh [--cuda] [--peer PROGRAM.py]
#
#   (nothing)   on the CPU: bench/results/cpu.md
#   --cuda      on this machine's GPU: bench/results/<name of the GPU>.md
#   --peer      a PyTorch program that measures the same training steps, for the ratios. On the CPU as step_vs_torch.sh runs it; on
#               a GPU with --config 1b|8b --seq N --batch N --rank 16 --kind lora|matryoshka --compile --chunk 2048; it prints one
#               JSON object
#
# Every benchmark is run several times in random order; the tables show medians. On two cores the CPU's take about half an hour.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="bash bench/run.sh $*" preset=release pattern='*' peer= repetitions=5
usage() { sed -n '4,10s/^# *//p' bench/run.sh; }
while (($#)); do
  case $1 in
    --cuda) preset=cuda pattern='kernels_*' ;;
    --peer)
      (($# > 1)) || { usage >&2; exit 2; }
      peer=$(cd "$here" && realpath "$2")
      command=${command/"$2"/$(basename "$2")}
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "bench/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libpcre2-dev libcli11-dev libbenchmark-dev python3
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
if [[ $preset == cuda ]]; then
  nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
  [[ -n $nvcc ]] || { echo "bench/run.sh: nvcc was not found; --cuda needs the CUDA Toolkit" >&2; exit 1; }
  command -v nvidia-smi >/dev/null || { echo "bench/run.sh: nvidia-smi was not found; --cuda needs an NVIDIA GPU and its driver" >&2; exit 1; }
  machine=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
  result=bench/results/$(tr 'A-Z ' 'a-z_' <<<"${machine#NVIDIA }").md
  machine+=", driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1), $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p')"
  cmake --preset cuda -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES=native -DLINDEN_TESTS=OFF -DLINDEN_EXAMPLES=OFF >/dev/null
  cmake --build --preset cuda --parallel "$(nproc)"
else
  machine="$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores, $(g++ --version | head -1)"
  result=bench/results/cpu.md repetitions=3
  bash cmake/install_packages.sh libopenblas-dev libdnnl-dev  # to compare with
  export GOMP_SPINCOUNT=20000                                 # our threads wait a moment for more, but not while theirs work
  [[ -z ${LINDEN_SHARED:-} && -d ../shared ]] && export LINDEN_SHARED=$PWD/../shared  # texts for the tokenizer's
  cmake --preset release -DLINDEN_TESTS=OFF -DLINDEN_EXAMPLES=OFF >/dev/null
  cmake --build --preset release --parallel "$(nproc)"
fi

measured=$(mktemp -d)
trap 'rm -rf "$measured"' EXIT
for program in build/"$preset"/bin/bench/$pattern; do
  echo "== $program" >&2
  "$program" --benchmark_repetitions=$repetitions --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true \
    --benchmark_out="$measured/$(basename "$program").json" --benchmark_out_format=json >&2
done
if [[ -n $peer && $preset == release ]]; then
  for config in tiny mid 1b 1b_bf16; do
    echo "== $peer $config" >&2
    bash bench/peers/step_vs_torch.sh "$peer" "$config" "$(nproc)" 3 >"$measured/steps-$config.md"
  done
elif [[ -n $peer ]]; then
  for config in "1b 2048 8" "8b 4096 2"; do
    read -r name length batch <<<"$config"
    for kind in lora matryoshka; do
      echo "== $peer $name $kind" >&2
      python3 "$peer" --config "$name" --seq "$length" --batch "$batch" --rank 16 --kind "$kind" --compile --chunk 2048 \
        >"$measured/peer-$name-$kind.json"
    done
  done
fi
mkdir -p bench/results
python3 bench/results_table.py "$measured" "$machine" "$command" >"$result"
echo "$result" >&2
